"""The body of a request on its way to a service: whole where it may be needed twice, else part by part."""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.types import Receive

from chassis.errors import BadRequest


class Body:
    """Taken from the client as it is sent on. `failure` is what ended it early: aiohttp reports an error of its own."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.complete = False
        self.failure: Exception | None = None

    async def read(self, *, whole: bool) -> bytes | AsyncIterator[bytes] | None:
        """None where there is no body, bytes where it is here already or `whole`, else its parts as they come."""
        first = await self._next()
        if self.complete:
            return first or None
        if whole:
            return b"".join([first] + [part async for part in self._rest()])
        return self._rest(first)

    async def _rest(self, first: bytes = b"") -> AsyncIterator[bytes]:
        try:
            if first:
                yield first
            while not self.complete:
                yield await self._next()
        except Exception as error:
            self.failure = error
            raise

    async def _next(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise BadRequest()
        self.complete = not message.get("more_body", False)
        part: bytes = message.get("body", b"")
        return part
