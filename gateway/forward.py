"""Passing a request on to the service that owns the route. Only named headers pass, in both directions.

An upstream is an ASGI application: the service itself where all run in one process.
"""

from __future__ import annotations

from collections.abc import Iterable

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUEST_HEADERS = frozenset(
    {
        b"accept",
        b"accept-language",
        b"authorization",
        b"content-length",
        b"content-type",
        b"idempotency-key",
        b"if-match",
        b"if-none-match",
        b"last-event-id",
    }
)
RESPONSE_HEADERS = frozenset(
    {
        b"cache-control",
        b"content-language",
        b"content-length",
        b"content-type",
        b"etag",
        b"location",
        b"retry-after",
        b"www-authenticate",
        b"x-accel-buffering",
    }
)
SECURITY_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
]

Headers = Iterable[tuple[bytes, bytes]]


async def forward(upstream: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Hand the request to the upstream and its answer back, streamed."""

    async def send_back(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = _allowed(message.get("headers", []), RESPONSE_HEADERS)
            message = {**message, "headers": [*kept, *SECURITY_HEADERS]}
        await send(message)

    await upstream(_inner_scope(scope), receive, send_back)


async def is_ready(upstream: ASGIApp, scope: Scope, receive: Receive) -> bool:
    """Whether the upstream says that it can answer."""
    status = 0

    async def note(message: Message) -> None:
        nonlocal status
        status = message.get("status", status)

    probe = {**_inner_scope(scope), "path": "/readyz", "raw_path": b"/readyz", "query_string": b""}
    await upstream(probe, receive, note)
    return status == 200


def _inner_scope(scope: Scope) -> Scope:
    """The request as the service sees it: no state, no identity, nothing but what it may know."""
    request_id = str(structlog.contextvars.get_contextvars().get("request_id", ""))
    headers = [*_allowed(scope["headers"], REQUEST_HEADERS), (b"x-request-id", request_id.encode())]
    return {
        "type": "http",
        "asgi": scope["asgi"],
        "http_version": scope["http_version"],
        "method": scope["method"],
        "scheme": scope["scheme"],
        "path": scope["path"],
        "raw_path": scope.get("raw_path") or scope["path"].encode(),
        "root_path": "",
        "query_string": scope["query_string"],
        "headers": headers,
        "client": scope.get("client"),
        "server": scope.get("server"),
    }


def _allowed(headers: Headers, names: frozenset[bytes]) -> list[tuple[bytes, bytes]]:
    """The named headers, the first of each: a second one of the same name has no meaning here, only tricks."""
    seen: set[bytes] = set()
    kept = []
    for name, value in headers:
        lowered = name.lower()
        if lowered in names and lowered not in seen:
            seen.add(lowered)
            kept.append((lowered, value))
    return kept
