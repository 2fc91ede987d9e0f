"""A TCP proxy between a client under test and a server: passes on, cuts, or falls silent, as the test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

GREETING_BYTES = 2000


class Proxy:
    """Listens on a port of loopback for connections to the target."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._reading = asyncio.Event()
        self._reading.set()
        self._unread = b""
        self._refusing = False
        self._open: list[asyncio.StreamWriter] = []
        self._greetings: dict[asyncio.StreamWriter, bytes] = {}
        self.port = 0
        self.connections = 0

    def cut(self) -> None:
        """Reset every connection; new ones are passed on."""
        for writer in self._open:
            writer.transport.abort()
        self._open.clear()

    def refuse(self) -> None:
        """Reset every connection, and every new one, until `heal`."""
        self._refusing = True
        self.cut()

    def silence(self) -> None:
        """Let nothing through in either direction, and say nothing about it, until `heal`."""
        self._flowing.clear()

    def stop_reading(self, of: bytes) -> None:
        """Pass on nothing more from the clients whose first words contain `of`, until `heal`."""
        self._unread = of
        self._reading.clear()

    def heal(self) -> None:
        self._refusing = False
        self._flowing.set()
        self._reading.set()

    def say(self, data: bytes, to: bytes = b"") -> int:
        """Send bytes to the clients whose first words contain `to`, as if the server had; returns to how many."""
        clients = [client for client, greeting in self._greetings.items() if to in greeting]
        for client in clients:
            client.write(data)
        return len(clients)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            writer.transport.abort()
            return
        self.connections += 1
        await self._flowing.wait()
        with suppress(OSError):
            onward_reader, onward_writer = await asyncio.open_connection(*self._target)
            self._open += [writer, onward_writer]
            self._greetings[writer] = b""
            await asyncio.gather(self._pump(reader, onward_writer, writer), self._pump(onward_reader, writer))
            del self._greetings[writer]

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, client: asyncio.StreamWriter | None = None
    ) -> None:
        with suppress(OSError, RuntimeError):
            while data := await reader.read(65536):
                if client is not None:
                    self._greetings[client] = (self._greetings[client] + data)[:GREETING_BYTES]
                    if self._unread in self._greetings[client]:
                        await self._reading.wait()
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def proxy_to(host: str, port: int) -> AsyncIterator[Proxy]:
    """A proxy to the target, closed with all its connections when the block ends."""
    made = Proxy(host, port)
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        task.add_done_callback(serving.discard)
        await made.serve(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        made.cut()
        for task in list(serving):
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
