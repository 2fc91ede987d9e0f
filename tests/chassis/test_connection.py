"""A client that is slow, or sends what no request of ours has, holds no connection and keeps nobody waiting."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import httpx
import pytest

from chassis.connection import HEAD_MAX_BYTES
from tests.chassis.parts import must_fail
from tests.chassis.processes import Child, started
from tests.chassis.served import MUCH_BYTES

PATIENCE_S = 0.5
# Many times the server's patience, and for what has to happen more than any machine needs.
CONTROL_WAITS_S = 2.0
WAITS_S = 30.0
REQUEST = b"GET / HTTP/1.1\r\nHost: linli\r\nAccept-Language: en\r\n"
POST = b"POST /read HTTP/1.1\r\nHost: linli\r\nAccept-Language: en\r\n"


class Wire:
    """One client's connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def says(self, *parts: bytes, pause_s: float = 0) -> None:
        """Send these parts; whoever has closed the connection meanwhile hears no more."""
        with suppress(ConnectionError):
            for part in parts:
                self._writer.write(part)
                await self._writer.drain()
                await asyncio.sleep(pause_s)

    async def hears(self, within_s: float = WAITS_S) -> bytes:
        """All that comes until the other side closes; AssertionError when it does not within this time."""
        try:
            async with asyncio.timeout(within_s):
                return await self._reader.read()
        except TimeoutError:
            raise AssertionError("it is still open") from None
        except ConnectionError:
            return b""


@pytest.fixture(scope="module")
async def child() -> AsyncIterator[Child]:
    """A server that has little patience."""
    async with started("-m", "tests.chassis.served", "--patience-s", str(PATIENCE_S)) as child:
        yield child


@pytest.fixture(scope="module")
async def url(child: Child) -> str:
    return await child.ready()


@pytest.fixture(scope="module")
async def uvicorns_url() -> AsyncIterator[str]:
    """The controls' server: its connections are uvicorn's own."""
    async with started("-m", "tests.chassis.served", "--uvicorns-own") as child:
        yield await child.ready()


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Wire]:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()


def problem(answer: bytes) -> tuple[int, str, str]:
    """Status, type and title of an answer that closes its connection."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head
    assert b"connection: close" in head.lower()
    found = json.loads(body)
    assert f"HTTP/1.1 {found['status']} ".encode() in head
    return found["status"], found["type"].rpartition(":")[2], found["title"]


async def ends_slow_clients(url: str, within_s: float = WAITS_S) -> None:
    """Fifty clients that send a header's bytes one by one, and never its end."""

    async def dawdle() -> bytes:
        async with connected(url) as wire:
            dripping = asyncio.create_task(wire.says(REQUEST, *[b"x"] * 1_000, pause_s=PATIENCE_S / 10))
            try:
                return await wire.hears(within_s)
            finally:
                dripping.cancel()

    for answer in await asyncio.gather(*(dawdle() for _ in range(50))):
        assert problem(answer) == (408, "too_slow", "Too slow")


async def test_who_never_ends_a_header_is_told_and_left(url: str) -> None:
    await ends_slow_clients(url)


async def test_control_uvicorn_by_itself_waits_for_them(uvicorns_url: str) -> None:
    await must_fail(ends_slow_clients, uvicorns_url, CONTROL_WAITS_S)


@pytest.mark.parametrize("said", [b"", b"\r\n\r\n"])
async def test_a_connection_on_which_nothing_is_asked_is_closed_without_a_word(url: str, said: bytes) -> None:
    async with connected(url) as wire:
        await wire.says(said)
        assert await wire.hears() == b""


async def ends_slow_bodies(url: str, within_s: float = WAITS_S) -> None:
    async with connected(url) as wire:
        await wire.says(POST + b"Content-Length: 1000\r\n\r\n")
        dripping = asyncio.create_task(wire.says(*[b"x"] * 999, pause_s=PATIENCE_S / 10))
        try:
            assert problem(await wire.hears(within_s)) == (408, "too_slow", "Too slow")
        finally:
            dripping.cancel()


async def test_who_never_ends_a_body_is_told_and_the_application_is(url: str, child: Child) -> None:
    await ends_slow_bodies(url)
    await child.says("left alone")


async def test_control_uvicorn_by_itself_waits_for_the_body(uvicorns_url: str) -> None:
    await must_fail(ends_slow_bodies, uvicorns_url, CONTROL_WAITS_S)


CLOSE = b"Connection: close\r\n"
CHUNKED = POST + CLOSE + b"Transfer-Encoding: chunked\r\n\r\n"
TOO_LARGE = {
    "one header": [REQUEST + CLOSE + b"x-long: ", *[b"a" * 10_000] * 500, b"\r\n\r\n"],
    "many headers": [REQUEST + CLOSE, *[b"x-more: %b\r\n" % (b"a" * 90)] * 500, b"\r\n"],
    "address": [b"GET /%b HTTP/1.1\r\n" % (b"a" * 60_000), REQUEST[16:] + CLOSE + b"\r\n"],
    "trailers": [CHUNKED + b"1\r\nx\r\n0\r\n", *[b"x-more: %b\r\n" % (b"a" * 90)] * 500, b"\r\n"],
    "one trailer": [CHUNKED + b"1\r\nx\r\n0\r\nx-long: ", *[b"a" * 10_000] * 500, b"\r\n\r\n"],
    "chunk extension": [CHUNKED + b"1;x=", *[b"a" * 10_000] * 100, b"\r\nx\r\n0\r\n\r\n"],
}


async def refuses_what_is_too_large(url: str, sent: list[bytes]) -> None:
    async with connected(url) as wire:
        await wire.says(*sent)
        status, name, _ = problem(await wire.hears())
        assert (status, name) == (431, "head_too_large")


@pytest.mark.parametrize("sent", TOO_LARGE.values(), ids=TOO_LARGE)
async def test_more_than_a_head_may_be_is_refused(url: str, sent: list[bytes]) -> None:
    await refuses_what_is_too_large(url, sent)


@pytest.mark.parametrize("sent", TOO_LARGE.values(), ids=TOO_LARGE)
async def test_control_uvicorn_by_itself_takes_it(uvicorns_url: str, sent: list[bytes]) -> None:
    await must_fail(refuses_what_is_too_large, uvicorns_url, sent)


async def test_a_head_of_almost_the_limit_is_taken(url: str) -> None:
    headers = {f"x-{number}": "a" * 100 for number in range((HEAD_MAX_BYTES - 1_000) // 110)}
    async with httpx.AsyncClient(base_url=url, headers=headers) as client:
        for _ in range(3):
            assert (await client.get("/")).text == "done"


async def test_requests_on_one_connection_are_counted_each_for_itself(url: str) -> None:
    """Large bodies, and several requests in one piece: neither a body nor an earlier head counts as a head."""
    large = POST + b"Content-Length: 900000\r\n\r\n" + b"x" * 900_000
    ask = REQUEST + b"x-some: %b\r\n\r\n" % (b"a" * 9_000)
    async with connected(url) as wire:
        await wire.says(large + ask * 20 + large + ask * 19 + REQUEST + CLOSE + b"\r\n")
        answer = await wire.hears()
    assert answer.count(b"HTTP/1.1 200 OK") == 42
    assert answer.count(b"900000 ['accept-language', 'content-length', 'host']") == 2


async def keeps_trailers_apart(url: str) -> None:
    async with connected(url) as wire:
        await wire.says(CHUNKED, pause_s=0.1)
        await wire.says(b"5\r\nhello\r\n0\r\nIdempotency-Key: mine\r\n\r\n")
        headers = ["accept-language", "connection", "host", "transfer-encoding"]
        assert f"5 {headers}".encode() in await wire.hears()


async def test_what_comes_after_the_body_is_no_header(url: str) -> None:
    await keeps_trailers_apart(url)


async def test_control_uvicorn_by_itself_adds_it_to_the_headers(uvicorns_url: str) -> None:
    await must_fail(keeps_trailers_apart, uvicorns_url)


async def ends_who_takes_nothing(url: str) -> None:
    async with connected(url) as wire:
        await wire.says(b"GET /much HTTP/1.1\r\nHost: linli\r\n" + CLOSE + b"\r\n")
        await asyncio.sleep(PATIENCE_S * 4)
        assert len(await wire.hears()) < MUCH_BYTES


async def test_an_answer_that_nobody_takes_is_not_kept(url: str) -> None:
    await ends_who_takes_nothing(url)


async def test_control_uvicorn_by_itself_keeps_it(uvicorns_url: str) -> None:
    await must_fail(ends_who_takes_nothing, uvicorns_url)


async def test_what_cannot_be_read_is_refused_as_a_problem(url: str) -> None:
    async with connected(url) as wire:
        await wire.says(b"GARBAGE\r\n\r\n")
        assert problem(await wire.hears()) == (400, "bad_request", "请求有误")
