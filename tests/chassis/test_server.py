"""A process that is told to stop fails nobody: it goes on for a while, finishes what it began, and ends by itself."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import httpx
import pytest

from chassis.listening import connect_nobody
from tests.chassis.buses import eventually
from tests.chassis.parts import must_fail
from tests.chassis.processes import Child, started

DRAIN_S = 0.6
REQUEST = b"GET / HTTP/1.1\r\nHost: linli\r\n\r\n"


@asynccontextmanager
async def served(*options: str) -> AsyncIterator[tuple[Child, str]]:
    async with started("-m", "tests.chassis.served", *options) as child:
        yield child, await child.ready()


async def connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(url)
    return await asyncio.open_connection(parts.hostname, parts.port)


async def answer_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """What comes back for one request until the other side closes; nothing where it does not answer."""
    try:
        writer.write(REQUEST)
        async with asyncio.timeout(5):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_told_to_stop_it_is_not_ready_and_answers_for_a_while_closing_every_connection() -> None:
    async with served("--drain-s", str(DRAIN_S)) as (child, url), httpx.AsyncClient(base_url=url) as client:
        assert (await client.get("/readyz")).status_code == 200
        assert "connection" not in (await client.get("/")).headers, "kept for the next request"
        asking = asyncio.create_task(client.get("/slow"))
        await child.says("working")
        child.signal()
        told = time.monotonic()
        await child.says("stopping")
        for path, status in (("/", 200), ("/readyz", 503), ("/", 200)):
            answer = await client.get(path)
            assert (answer.status_code, answer.headers["connection"]) == (status, "close")
        assert (await asking).headers["connection"] == "close"
        assert await child.ends() == 0
        assert time.monotonic() - told >= DRAIN_S
        assert child.output[-1] == "linli: closed"


async def answers_every_connection(drain_s: float) -> None:
    """Somebody who has not noticed yet goes on connecting after the signal: every request is answered."""
    async with served("--drain-s", str(drain_s)) as (child, url):
        answers: list[bytes] = []
        end = time.monotonic() + DRAIN_S * 0.6

        async def go_on() -> None:
            while time.monotonic() < end:
                try:
                    answers.append(await answer_on(*await connect(url)))
                except ConnectionError:
                    answers.append(b"")

        child.signal()
        await asyncio.gather(*(go_on() for _ in range(4)))
        refused = [answer for answer in answers if not answer.endswith(b"done")]
        assert not refused, f"{len(refused)} of {len(answers)}"
        assert len(answers) > 10
        assert await child.ends() == 0


async def test_while_it_drains_it_refuses_no_new_connection() -> None:
    await answers_every_connection(DRAIN_S)


async def test_control_without_drain_it_refuses_some() -> None:
    await must_fail(answers_every_connection, 0)


async def serves_who_connected_before(drain_s: float) -> None:
    """Connections that were open before the signal and had not asked for anything yet."""
    async with served("--drain-s", str(drain_s)) as (child, url):
        connections = [await connect(url) for _ in range(20)]
        child.signal()
        await asyncio.sleep(DRAIN_S / 2)
        answers = await asyncio.gather(*(answer_on(*connection) for connection in connections))
        assert all(answer.endswith(b"done") and b"connection: close" in answer for answer in answers)


async def test_a_connection_opened_before_the_signal_is_served() -> None:
    await serves_who_connected_before(DRAIN_S)


async def test_control_without_drain_it_is_not() -> None:
    await must_fail(serves_who_connected_before, 0)


async def serves_who_came_last(*options: str) -> None:
    """The system has connected them, and the process has not looked yet when it is to stop listening."""
    async with served("--drain-s", "0", "--stuck-s", "0.5", *options) as (child, url):
        child.signal()
        await child.says("stuck")
        answers = await asyncio.gather(*[answer_on(*await connect(url)) for _ in range(20)])
        assert [answer for answer in answers if not answer.endswith(b"done")] == []
        assert await child.ends() == 0


async def test_who_has_connected_when_it_stops_listening_is_served() -> None:
    await serves_who_came_last()


async def test_control_a_server_that_only_closes_its_socket_resets_them() -> None:
    await must_fail(serves_who_came_last, "--slam")


async def test_while_it_stops_listening_nobody_is_connected_any_more() -> None:
    """Neither accepted nor reset: whoever tries has sent nothing yet, and can go elsewhere."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as late:
        early = socket.create_connection(listener.getsockname())
        connect_nobody(listener)
        late.settimeout(0.3)
        with pytest.raises(TimeoutError):
            late.connect(listener.getsockname())
        early.sendall(REQUEST)
        accepted, _ = listener.accept()
        assert accepted.recv(len(REQUEST)) == REQUEST
        early.close()
        accepted.close()


async def answers_what_is_in_flight(*options: str) -> None:
    async with served(*options) as (child, url), httpx.AsyncClient(base_url=url) as client:
        asking = [asyncio.create_task(client.get("/slow")) for _ in range(10)]
        await eventually(lambda: child.output.count("linli: working") == len(asking))
        child.signal()
        answers = await asyncio.gather(*asking)
        assert {(answer.text, answer.headers["connection"]) for answer in answers} == {("done", "close")}
        assert await child.ends() == 0


async def test_a_request_in_flight_at_the_signal_is_answered() -> None:
    await answers_what_is_in_flight("--drain-s", "0")


async def test_control_a_server_that_waits_for_nothing_leaves_it_unanswered() -> None:
    await must_fail(answers_what_is_in_flight, "--drain-s", "0", "--grace-s", "0", "--slow-s", "10")


async def ends_its_streams(*options: str) -> None:
    """A stream goes on while the process drains, and then has its proper end."""
    async with served("--drain-s", str(DRAIN_S), *options) as (child, url), httpx.AsyncClient() as client:
        lines: list[str] = []
        told = time.monotonic()
        async with client.stream("GET", f"{url}/stream") as stream:
            try:
                async for line in stream.aiter_lines():
                    lines.append(line)
                    if len(lines) == 1:
                        child.signal()
                        told = time.monotonic()
            except httpx.RemoteProtocolError as error:
                raise AssertionError("cut off") from error
        assert lines[-1] == "end"
        assert DRAIN_S <= time.monotonic() - told < DRAIN_S + 3
        assert await child.ends() == 0


async def test_streams_end_after_the_drain_and_are_whole() -> None:
    await ends_its_streams()


async def test_control_a_server_that_tells_its_streams_nothing_cuts_them_off() -> None:
    await must_fail(ends_its_streams, "--deaf", "--grace-s", "0.2")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_cuts_the_drain_short_and_still_answers_what_is_in_flight(number: int) -> None:
    async with served("--drain-s", "60") as (child, url), httpx.AsyncClient(base_url=url) as client:
        child.signal(number)
        await child.says("stopping")
        asking = asyncio.create_task(client.get("/slow"))
        await child.says("working")
        child.signal(number)
        assert (await asking).text == "done"
        assert await child.ends() == 0
        assert child.output[-1] == "linli: closed"


async def test_a_signal_while_it_starts_stops_it_without_a_drain() -> None:
    async with started("-m", "tests.chassis.served", "--opening-s", "0.3", "--drain-s", "60") as child:
        await child.says("opening")
        child.signal()
        assert await child.ends() == 0
        assert child.output == ["linli: opening", "linli: stopping …", "linli: closed"]


async def test_with_its_port_taken_it_says_so_and_closes_what_it_opened() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        async with started("-m", "tests.chassis.served", "--port", str(taken.getsockname()[1])) as child:
            assert await child.ends() == 3
            assert "address already in use" in "".join(child.output)
            assert child.output[-1] == "linli: closed"
            assert "Traceback" not in str(child.output)
