"""HEAD: what a GET would be answered with, without the body. No service has to know of it."""

from __future__ import annotations

import asyncio

from starlette.types import Message, Receive, Scope, Send


def as_get(scope: Scope, send: Send) -> tuple[Scope, Receive, Send]:
    """The request as a GET whose client leaves as soon as the answer has begun: a live stream would never end."""
    answered = asyncio.Event()
    asked = False

    async def receive() -> Message:
        nonlocal asked
        if asked:
            await answered.wait()
            return {"type": "http.disconnect"}
        asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send_head(message: Message) -> None:
        if message["type"] == "http.response.start":
            await send(message)
            await send({"type": "http.response.body"})
            answered.set()

    return {**scope, "method": "GET"}, receive, send_head
