"""A service that is not there, or loses a request: what is answered, and what is sent again."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from aiohttp import ClientSession

from chassis.errors import Refusal, Unavailable
from tests.caller import KEYED, Caller, Headers, upstream
from tests.wire import CLOSED, HANGS, OK, RESET, Answer, wire

# ---- Who is not there ----------------------------------------------------------------------------------------------


Place = Callable[[], AbstractAsyncContextManager[str]]


@asynccontextmanager
async def black_hole() -> AsyncIterator[str]:
    """An address at which nobody takes a connection and nobody refuses one: its queue is full."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(listening.getsockname())
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        for one in waiting:
            one.close()


@asynccontextmanager
async def refusing() -> AsyncIterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{free.getsockname()[1]}"


@asynccontextmanager
async def without_address() -> AsyncIterator[str]:
    yield "http://nobody.invalid:8000"


@pytest.mark.parametrize("place", [refusing, black_hole, without_address])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_service_that_is_not_there_is_said_to_be_unavailable_soon(place: Place, method: str) -> None:
    async with place() as url, upstream(url) as app:
        started = time.monotonic()
        with pytest.raises(Unavailable) as refusal:
            await Caller(method).calls(app)
    assert time.monotonic() - started < 3
    assert "Retry-After" in refusal.value.headers()


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_service_that_hangs_is_not_asked_again(method: str) -> None:
    async with wire(HANGS) as service, upstream(service.url, silence_timeout_s=0.2) as app:
        with pytest.raises(Unavailable):
            await Caller(method, headers=KEYED).calls(app)
        await asyncio.wait_for(service.left.wait(), 2)
    assert len(service.requests) == 1


# ---- What is sent again --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", [CLOSED, RESET])
@pytest.mark.parametrize(
    ("method", "headers", "body"),
    [("GET", [], b""), ("HEAD", [], b""), ("POST", KEYED, b'{"a": 1}'), ("POST", KEYED, b"")],
)
async def test_what_may_be_repeated_is_sent_again_when_it_was_lost(
    lost: Answer, method: str, headers: Headers, body: bytes
) -> None:
    async with wire(lost, OK) as service, upstream(service.url) as app:
        caller = Caller(method, b"/a", b"b=1", headers)
        for part in (body[:3], body[3:6]):
            caller.sends(part, more=True)
        await caller.sends(body[6:]).calls(app)
    assert caller.status == 200
    first, second = service.requests
    assert first == second
    assert second.body == body


@pytest.mark.parametrize("lost", [CLOSED, RESET])
@pytest.mark.parametrize(
    ("method", "headers"), [("POST", []), ("PATCH", KEYED), ("PATCH", []), ("PUT", []), ("DELETE", [])]
)
async def test_what_may_have_a_second_effect_is_sent_once(lost: Answer, method: str, headers: Headers) -> None:
    async with wire(lost, OK) as service, upstream(service.url) as app:
        with pytest.raises(Unavailable):
            await Caller(method, headers=headers).sends(b"{}").calls(app)
    assert len(service.requests) == 1


async def test_control_aiohttp_by_itself_sends_a_delete_again() -> None:
    async with wire(CLOSED, OK) as service, ClientSession() as session, session.delete(service.url) as answer:
        assert answer.status == 200
    assert len(service.requests) == 2


@pytest.mark.parametrize("headers", [[], KEYED])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_nothing_is_sent_a_third_time(method: str, headers: Headers) -> None:
    async with wire(CLOSED) as service, upstream(service.url) as app:
        with pytest.raises(Refusal):
            await Caller(method, headers=headers).calls(app)
    assert len(service.requests) <= 2


async def test_a_connection_that_the_service_has_closed_is_not_used() -> None:
    """A service that stops closes those that are kept; each would cost a request that may be sent once only."""
    async with wire(OK) as service, upstream(service.url) as app:
        await asyncio.gather(*(Caller("PATCH").calls(app) for _ in range(10)))
        kept = len(service.requests)
        await service.close_connections()
        await asyncio.sleep(0.05)  # and it is known here, too
        callers = await asyncio.gather(*(Caller("PATCH").calls(app) for _ in range(10)))
    assert [caller.status for caller in callers] == [200] * 10
    assert len(service.requests) == kept + 10
