"""The gateway's way to a service, and one request on it, as a server hands it to an application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from starlette.types import ASGIApp, Message

from gateway.upstream import HttpUpstream, Streams, open_session

Headers = Sequence[tuple[bytes, bytes]]
KEYED = [(b"idempotency-key", b"k-1")]


class Caller:
    """One request: its body in parts, and what is answered."""

    def __init__(self, method: str = "GET", path: bytes = b"/", query: bytes = b"", headers: Headers = ()) -> None:
        self.scope = {"type": "http", "http_version": "1.1", "method": method, "raw_path": path}
        self.scope |= {"query_string": query, "headers": headers}
        self.parts: asyncio.Queue[Message] = asyncio.Queue()
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self.complete = False
        self.body_begun = asyncio.Event()

    def sends(self, part: bytes, *, more: bool = False) -> Caller:
        self.parts.put_nowait({"type": "http.request", "body": part, "more_body": more})
        return self

    def leaves(self) -> Caller:
        self.parts.put_nowait({"type": "http.disconnect"})
        return self

    async def calls(self, app: ASGIApp) -> Caller:
        if self.parts.empty():
            self.sends(b"")
        await app(self.scope, self.parts.get, self._hears)
        return self

    async def _hears(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], dict(message["headers"])
        else:
            self.body += message.get("body", b"")
            self.body_begun.set()
            self.complete = not message.get("more_body", False)


@asynccontextmanager
async def upstream(url: str, **timeouts: float) -> AsyncIterator[HttpUpstream]:
    async with open_session(**timeouts) as session:
        yield HttpUpstream(session, url, Streams())
