"""Both ends of the wire, for tests of what goes over it: a service that answers in bytes, and an application served."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Literal

import uvicorn
from starlette.types import ASGIApp

NO_LINGER = struct.pack("ii", 1, 0)


@dataclass
class Answer:
    """Bytes, and what becomes of the connection: it stays, is closed or reset, or says nothing more.

    `early` is sent before the request's body is read.
    """

    data: bytes = b""
    then: Literal["stay", "close", "reset", "hang"] = "stay"
    early: bytes = b""


OK = Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
CLOSED = Answer(then="close")
RESET = Answer(then="reset")
HANGS = Answer(then="hang")


@dataclass
class Heard:
    """A request as it came."""

    head: bytes
    body: bytes = b""
    complete: bool = False

    @property
    def line(self) -> bytes:
        return self.head.split(b"\r\n", 1)[0]

    @property
    def headers(self) -> list[bytes]:
        return self.head.split(b"\r\n")[1:-2]


class Wire:
    """Listens on loopback, notes every request, and gives one answer after another, the last one again and again."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        self._answers = answers
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self.url = ""
        self.requests: list[Heard] = []
        # The first bytes of a body have come; the client has closed a connection that hangs.
        self.body_begun, self.left = asyncio.Event(), asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = writer
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while await self._exchange(reader, writer):
                pass
        writer.close()
        del self._open[task]

    async def close_connections(self) -> None:
        for writer in self._open.values():
            writer.close()
        await asyncio.gather(*self._open)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        heard = Heard(await reader.readuntil(b"\r\n\r\n"))
        answer = self._answers[min(len(self.requests), len(self._answers) - 1)]
        self.requests.append(heard)
        writer.write(answer.early)
        await self._read_body(reader, heard)
        head, gap, body = answer.data.partition(b"\r\n\r\n")
        writer.write(head + gap if heard.line.startswith(b"HEAD ") else head + gap + body)
        await writer.drain()
        if answer.then == "reset":
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        if answer.then == "hang":
            await reader.read()
            self.left.set()
        return answer.then == "stay"

    async def _read_body(self, reader: asyncio.StreamReader, heard: Heard) -> None:
        """Read it as it comes: a test may look before the end of it is sent."""
        if b"Transfer-Encoding: chunked" in heard.headers:
            while size := int(await reader.readuntil(b"\r\n"), 16):
                heard.body += (await reader.readexactly(size + 2))[:-2]
                self.body_begun.set()
            await reader.readexactly(2)
        lengths = [int(line.split(b":")[1]) for line in heard.headers if line.lower().startswith(b"content-length:")]
        while lengths and len(heard.body) < lengths[0]:
            heard.body += await reader.readexactly(1) + await reader.read(lengths[0] - len(heard.body) - 1)
            self.body_begun.set()
        heard.complete = True


@asynccontextmanager
async def wire(*answers: Answer) -> AsyncIterator[Wire]:
    """A service of bytes for the block."""
    made = Wire(answers)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()
        await made.close_connections()


@asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[str]:
    """Serve the application on loopback for the block, as the product's processes do; yields its address."""
    config = uvicorn.Config(
        app, port=0, lifespan="off", log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=1
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        await server.shutdown()
