"""Pages that the gateway completes: display names, which only members has, into answers that carry ids.

An operation marked `x-linli-compose: names` answers with `items` and an empty `names`; the gateway fills `names` with
`{id: display name}` for who is in `items`. Without an answer from members the page stays as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import httpx
import orjson
import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chassis.errors import Refusal
from chassis.lookups import LOOKUP_TIMEOUT_S
from chassis.tokens import Signer
from chassis.tracing import trace_headers
from gateway.forward import forward

NAMED_FIELDS = ("author_id", "subject_id")
NAMES_MAX = 100

log = structlog.get_logger(__name__)


class Names:
    """The gateway's one look-up at members."""

    def __init__(self, members: httpx.AsyncClient, signer: Signer) -> None:
        self._members = members
        self._signer = signer

    async def fetch(self, ids: Iterable[str], now: datetime) -> Mapping[str, str]:
        """Display names by id; empty when members does not answer."""
        wanted = sorted(set(ids))[:NAMES_MAX]
        if not wanted:
            return {}
        token = self._signer.service_token("gateway", "names", now)
        try:
            async with asyncio.timeout(LOOKUP_TIMEOUT_S):
                response = await self._members.get(
                    "/internal/names",
                    params={"ids": wanted},
                    headers={"Authorization": f"Bearer {token}", **trace_headers()},
                )
            response.raise_for_status()
        except (httpx.HTTPError, TimeoutError, Refusal) as error:
            log.warning("names_not_fetched", cause=type(error).__name__)
            return {}
        names: Mapping[str, str] = response.json()["names"]
        return names


async def forward_with_names(
    upstream: ASGIApp, names: Names, now: datetime, scope: Scope, receive: Receive, send: Send
) -> None:
    """Hand the request on, and complete an answer of 200 with display names."""
    start: Message | None = None
    body = b""

    async def collect(message: Message) -> None:
        nonlocal start, body
        if message["type"] == "http.response.start":
            start = message
        elif message["type"] == "http.response.body":
            body += message.get("body", b"")

    await forward(upstream, scope, receive, collect)
    if start is None:
        return
    if start["status"] == 200:
        document = orjson.loads(body)
        document["names"] = dict(await names.fetch(_ids_in(document["items"]), now))
        body = orjson.dumps(document)
        kept = [pair for pair in start["headers"] if pair[0] != b"content-length"]
        start = {**start, "headers": [*kept, (b"content-length", str(len(body)).encode())]}
    await send(start)
    await send({"type": "http.response.body", "body": body})


def _ids_in(items: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    for item in items:
        for field in NAMED_FIELDS:
            if item.get(field):
                yield str(item[field])
