"""All that Linli holds about a person: members' answer, completed with every service's part, asked for at once.

An operation marked `x-linli-compose: export` answers with an empty `services`; the gateway fills it with the answers of
`{its path}/{service}`, which the same token is sent to. A part that is missing makes the whole 503: an export that
leaves something out would say that there is nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson
import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chassis.errors import Unavailable
from gateway.forward import forward, without_body

log = structlog.get_logger(__name__)


async def forward_export(
    owner: ASGIApp, upstreams: Mapping[str, ASGIApp], scope: Scope, receive: Receive, send: Send
) -> None:
    """Hand the request on, and complete an answer of 200 with the parts; Unavailable when one cannot be had."""
    answer = await _Answer.to(owner, scope, receive)
    if answer.status == 200:
        document = orjson.loads(answer.body)
        parts = await asyncio.gather(*(_part(name, app, scope) for name, app in upstreams.items()))
        document["services"] = dict(zip(upstreams, parts, strict=True))
        answer.body = orjson.dumps(document)
    await answer.send(send)


async def _part(service: str, upstream: ASGIApp, scope: Scope) -> Any:
    path = f"{scope['path']}/{service}"
    asked = {**scope, "path": path, "raw_path": path.encode(), "method": "GET", "query_string": b""}
    answer = await _Answer.to(upstream, asked, without_body())
    if answer.status != 200:
        log.warning("export_incomplete", service=service, status=answer.status)
        raise Unavailable()
    return orjson.loads(answer.body)


class _Answer:
    """An upstream's whole answer."""

    def __init__(self) -> None:
        self._start: Message = {"type": "http.response.start", "status": 502, "headers": []}
        self.body = b""

    @property
    def status(self) -> int:
        return int(self._start["status"])

    @classmethod
    async def to(cls, upstream: ASGIApp, scope: Scope, receive: Receive) -> _Answer:
        answer = cls()

        async def collect(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer._start = message
            elif message["type"] == "http.response.body":
                answer.body += message.get("body", b"")

        await forward(upstream, scope, receive, collect)
        return answer

    async def send(self, send: Send) -> None:
        kept = [pair for pair in self._start["headers"] if pair[0] != b"content-length"]
        length = (b"content-length", str(len(self.body)).encode())
        # It is for the one who asked, and for no cache.
        await send({**self._start, "headers": [*kept, length, (b"cache-control", b"no-store")]})
        await send({"type": "http.response.body", "body": self.body})
