"""A TCP proxy between a client under test and a server: passes on, delays, cuts, or falls silent, as the test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from sqlalchemy import make_url

GREETING_BYTES = 2000


class Proxy:
    """Listens on a port of loopback for connections to the target; a host that is a folder has PostgreSQL's socket."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._reading = asyncio.Event()
        self._reading.set()
        self._unread = b""
        self._refusing = False
        self._latency_s = 0.0
        self._open: list[asyncio.StreamWriter] = []
        self._pairs: dict[asyncio.StreamWriter, asyncio.StreamWriter] = {}
        self._forgotten: set[asyncio.StreamWriter] = set()
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

    def delay(self, seconds: float) -> None:
        """Pass everything on so much later, in both directions, until `heal`."""
        self._latency_s = seconds

    def forget(self) -> None:
        """Close the server's end of every connection and tell no client: theirs is half open. New ones are passed on.

        Afterwards what such a client says is heard by nobody.
        """
        for client, onward in self._pairs.items():
            self._forgotten.add(client)
            onward.transport.abort()

    def stop_reading(self, of: bytes) -> None:
        """Pass on nothing more from the clients whose first words contain `of`, until `heal`."""
        self._unread = of
        self._reading.clear()

    def heal(self) -> None:
        self._refusing = False
        self._latency_s = 0.0
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
            onward_reader, onward_writer = await self._connect()
            self._open += [writer, onward_writer]
            self._greetings[writer], self._pairs[writer] = b"", onward_writer
            await asyncio.gather(self._pump(reader, onward_writer, writer), self._pump(onward_reader, writer))
            del self._greetings[writer], self._pairs[writer]

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, port = self._target
        if host.startswith("/"):
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        return await asyncio.open_connection(host, port)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, client: asyncio.StreamWriter | None = None
    ) -> None:
        with suppress(OSError, RuntimeError):
            while data := await reader.read(65536):
                if client is not None:
                    self._greetings[client] = (self._greetings[client] + data)[:GREETING_BYTES]
                    if self._unread in self._greetings[client]:
                        await self._reading.wait()
                await asyncio.sleep(self._latency_s)
                await self._flowing.wait()
                if client not in self._forgotten:
                    writer.write(data)
                    await writer.drain()
        if writer not in self._forgotten:
            writer.close()


@asynccontextmanager
async def proxy_to_database(url: str) -> AsyncIterator[tuple[Proxy, str]]:
    """A proxy to the server of a database's URL, and the URL of the database through it."""
    target = make_url(url)
    host = str(target.query.get("host") or target.host)
    port = int(str(target.query.get("port") or target.port or 5432))
    async with proxy_to(host, port) as proxy:
        through = target.set(host="127.0.0.1", port=proxy.port, query={})
        yield proxy, through.render_as_string(hide_password=False)


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
