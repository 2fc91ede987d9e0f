"""A door before Linli that fails as a gateway does which is killed, restarted or cut off: by chance, but seeded."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Literal
from urllib.parse import urlsplit

Fault = Literal["unsent", "unanswered", "closed", "unavailable"]
STRETCH_S = 1.0
UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
CONNECTION = re.compile(rb"\r\nconnection: *[^\r]*", re.IGNORECASE)


class Unreliable:
    """Passes one request on per connection, unless `choose` names a fault for it (by its method and path).

    unsent: the connection breaks, Linli never hears of the request. unanswered: it breaks when Linli has answered.
    closed: for a while no connection is taken. unavailable: for a while everything is answered 503.
    """

    def __init__(self, url: str, choose: Callable[[str], Fault | None]) -> None:
        target = urlsplit(url)
        self._target = target.hostname, target.port
        self._choose = choose
        self._server: asyncio.Server | None = None
        self._port = 0
        self._unavailable_until = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self.faults: Counter[Fault] = Counter()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Where it listens, as long as the block lasts."""
        await self._open()
        try:
            yield f"http://127.0.0.1:{self._port}"
        finally:
            self._close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    def _close(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _closed_for_a_while(self) -> None:
        self._close()
        await asyncio.sleep(STRETCH_S)
        await self._open()

    def _track(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._track(task)
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = LENGTH.search(head)
            body = await reader.readexactly(int(length[1])) if length else b""
            answer = await self._answer(head, body)
            if answer is not None:
                writer.write(answer)
                await writer.drain()
                writer.close()
                return
        writer.transport.abort()

    async def _answer(self, head: bytes, body: bytes) -> bytes | None:
        """What the client is sent; None where its connection breaks."""
        if time.monotonic() < self._unavailable_until:
            self.faults["unavailable"] += 1
            return UNAVAILABLE
        fault = self._choose(head.split(b" HTTP/", 1)[0].decode())
        if fault is not None:
            self.faults[fault] += 1
        if fault == "unavailable":
            self._unavailable_until = time.monotonic() + STRETCH_S
            return UNAVAILABLE
        if fault == "closed":
            self._track(asyncio.create_task(self._closed_for_a_while()))
        if fault in {"closed", "unsent"}:
            return None
        answer = await self._pass_on(head, body)
        return None if fault == "unanswered" else answer

    async def _pass_on(self, head: bytes, body: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(*self._target)
        try:
            writer.write(CONNECTION.sub(b"\r\nConnection: close", head) + body)
            return await reader.read()
        finally:
            writer.close()


def by_chance(seed: int, share: float) -> Callable[[str], Fault | None]:
    """Breaks this share of connections, once is closed and once unavailable. Whoever comes first is let in."""
    chance = random.Random(seed)
    numbers = count()
    planned: dict[int, Fault | None] = {0: None, 400: "closed", 800: "unavailable"}

    def choose(_: str) -> Fault | None:
        number = next(numbers)
        if number in planned:
            return planned[number]
        return chance.choice(("unsent", "unanswered")) if chance.random() < share else None

    return choose


def first_answers_to(request: str, lost: int) -> Callable[[str], Fault | None]:
    """Loses so many answers to this request."""
    numbers = count()

    def choose(asked: str) -> Fault | None:
        return "unanswered" if asked == request and next(numbers) < lost else None

    return choose
