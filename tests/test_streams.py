"""Answers that last, through a gateway served as in production: live streams, and answers that break off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import pytest
from aiohttp import ClientSession, ClientTimeout
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.testing import capture_logs

from gateway.upstream import HttpUpstream, Streams, open_session
from tests.doors import door
from tests.wire import Answer, serving, wire

EVENT = b"data: 1\n\n"
STREAM = Answer(
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"9\r\n" + EVENT + b"\r\n",
    "hang",
)
DOWNLOAD = Answer(STREAM.data.replace(b"text/event-stream", b"text/csv"), "hang")
END = b"\r\n0\r\n\r\n"
STREAMS = 200
# Long enough for whatever would happen.
A_WHILE_S = 0.5


@dataclass
class Door:
    """A served gateway before one service."""

    url: str
    streams: Streams

    async def get(self, path: str = "/api/v1/things") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection on which a GET was sent."""
        host, _, port = self.url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET {path} HTTP/1.1\r\nHost: door\r\nConnection: close\r\n\r\n".encode())
        return reader, writer

    async def answer(self, path: str = "/api/v1/things") -> bytes:
        """All that is answered to a GET."""
        reader, writer = await self.get(path)
        try:
            return await asyncio.wait_for(reader.read(), 5)
        finally:
            writer.close()


def as_it_is(app: ASGIApp) -> ASGIApp:
    return app


@asynccontextmanager
async def door_before(
    service_url: str,
    session: Callable[[], ClientSession] = open_session,
    through: Callable[[ASGIApp], ASGIApp] = as_it_is,
) -> AsyncIterator[Door]:
    streams = Streams()
    async with session() as client:
        upstream = through(HttpUpstream(client, service_url, streams))
        async with serving(door({"orders": upstream}, request_limit="10000/second")) as url:
            yield Door(url, streams)


async def test_an_event_comes_before_the_stream_has_ended() -> None:
    async with wire(STREAM) as service, door_before(service.url) as place:
        reader, writer = await place.get()
        assert await asyncio.wait_for(reader.readuntil(EVENT), 5)
        assert not service.left.is_set()
        writer.close()


async def test_a_stream_may_be_silent_for_longer_than_another_answer() -> None:
    hasty = partial(open_session, silence_timeout_s=0.2)
    async with wire(STREAM) as service, door_before(service.url, hasty) as place:
        reader, writer = await place.get()
        await asyncio.wait_for(reader.readuntil(EVENT), 5)
        await asyncio.sleep(A_WHILE_S)
        assert not service.left.is_set()
        writer.close()
    async with wire(DOWNLOAD) as service, door_before(service.url, hasty) as place:
        assert END not in await place.answer()
        await asyncio.wait_for(service.left.wait(), 5)


async def test_a_stream_that_has_gone_silent_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.upstream.STREAM_SILENCE_TIMEOUT_S", 0.3)
    async with wire(STREAM) as service, door_before(service.url) as place:
        assert END not in await place.answer()
        await asyncio.wait_for(service.left.wait(), 5)


async def test_when_the_client_leaves_the_service_is_left_at_once() -> None:
    async with wire(STREAM) as service, door_before(service.url) as place:
        reader, writer = await place.get()
        await reader.readuntil(EVENT)
        with capture_logs() as logs:
            writer.close()
            await asyncio.wait_for(service.left.wait(), A_WHILE_S)
    assert "upstream_failed" not in {line["event"] for line in logs}


async def test_control_a_gateway_that_does_not_listen_for_it_stays() -> None:
    def deaf(app: ASGIApp) -> ASGIApp:
        async def call(scope: Scope, receive: Receive, send: Send) -> None:
            async def hear_no_leaving() -> Message:
                message = await receive()
                return message if message["type"] == "http.request" else await asyncio.Future()

            await app(scope, hear_no_leaving, send)

        return call

    async with wire(STREAM) as service, door_before(service.url, through=deaf) as place:
        reader, writer = await place.get()
        await reader.readuntil(EVENT)
        writer.close()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(service.left.wait(), A_WHILE_S)


async def events(place: Door, count: int) -> int:
    """How many of so many streams, all open at once, bring their event."""
    connections = await asyncio.gather(*(place.get() for _ in range(count)))
    heads = await asyncio.gather(*(reader.readuntil(b"\r\n\r\n") for reader, _ in connections))
    for _, writer in connections:
        writer.close()
    return sum(head.startswith(b"HTTP/1.1 200 ") for head in heads)


async def test_streams_are_not_limited_by_the_clients_pool() -> None:
    async with wire(STREAM) as service, door_before(service.url) as place:
        assert await events(place, STREAMS) == STREAMS


async def test_control_aiohttps_own_pool_ends_at_a_hundred() -> None:
    def session() -> ClientSession:
        return ClientSession(timeout=ClientTimeout(total=None, connect=2))

    async with wire(STREAM) as service, door_before(service.url, session) as place:
        assert 0 < await events(place, STREAMS) <= 100


async def test_when_the_gateway_stops_live_streams_end_as_if_by_themselves() -> None:
    async with wire(STREAM) as service, door_before(service.url) as place:
        reader, writer = await place.get()
        await reader.readuntil(EVENT)
        place.streams.end()
        assert await asyncio.wait_for(reader.read(), A_WHILE_S) == END
        assert (await place.answer()).endswith(END)  # one that begins only now
        writer.close()


async def test_control_without_being_told_they_do_not_end() -> None:
    async with wire(STREAM) as service, door_before(service.url) as place:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(place.answer(), A_WHILE_S)


async def test_a_download_goes_on_when_the_gateway_stops_and_never_ends_as_if_it_were_whole() -> None:
    async with wire(DOWNLOAD) as service, door_before(service.url) as place:
        reader, writer = await place.get()
        await reader.readuntil(EVENT + b"\r\n")
        place.streams.end()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), A_WHILE_S)
        await service.close_connections()
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()


@pytest.mark.parametrize("then", ["close", "reset"])
@pytest.mark.parametrize("framing", [b"Content-Length: 40\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n4\r\n"])
async def test_when_the_service_dies_in_its_answer_the_client_sees_that_it_is_not_whole(
    framing: bytes, then: str
) -> None:
    half = Answer(b"HTTP/1.1 200 OK\r\n" + framing + b"half\r\n", then)  # type: ignore[arg-type]
    async with wire(half) as service, door_before(service.url) as place:
        answer = await place.answer()
        page = await place.answer("/api/v1/things/7/reviews")
    assert not is_whole(answer)
    assert page.startswith(b"HTTP/1.1 503 ")  # the gateway completes this one, so nothing of it was sent
    assert is_whole(page)


@pytest.mark.parametrize("framing", [b"Content-Length: 4\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n4\r\n"])
async def test_control_a_whole_answer_is_seen_to_be_whole(framing: bytes) -> None:
    whole = Answer(b"HTTP/1.1 200 OK\r\n" + framing + b"full" + (END if b"chunked" in framing else b""))
    async with wire(whole) as service, door_before(service.url) as place:
        assert is_whole(await place.answer())


def is_whole(answer: bytes) -> bool:
    head, _, body = answer.partition(b"\r\n\r\n")
    lengths = [int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length:")]
    return len(body) == lengths[0] if lengths else body.endswith(END)
