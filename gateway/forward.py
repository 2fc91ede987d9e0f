"""Passing a request on to the service that owns the route. Only named headers pass, in both directions.

An upstream is an ASGI application: the service itself where all run in one process, else `gateway.upstream`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chassis.telemetry import current_request_id
from chassis.tracing import TRACEPARENT, traceparent

REQUEST_HEADERS = frozenset(
    {
        b"accept",
        b"accept-language",
        b"authorization",
        b"content-length",
        b"content-type",
        b"if-match",
        b"if-none-match",
        b"last-event-id",
    }
)
# To a route that keeps keys. Elsewhere none passes, so that what carries one may be sent twice.
KEYED_REQUEST_HEADERS = REQUEST_HEADERS | {b"idempotency-key"}
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
READY_TIMEOUT_S = 2.0

Headers = Iterable[tuple[bytes, bytes]]

log = structlog.get_logger(__name__)


async def forward(
    upstream: ASGIApp, scope: Scope, receive: Receive, send: Send, *, keyed: bool = False, told: Headers = ()
) -> None:
    """Hand the request to the upstream and its answer back, streamed. `keyed`: the route keeps idempotency keys.

    `told`: headers that the gateway itself adds.
    """

    async def send_back(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": _allowed(message.get("headers", []), RESPONSE_HEADERS)}
        await send(message)

    inner = _inner_scope(scope, KEYED_REQUEST_HEADERS if keyed else REQUEST_HEADERS)
    inner["headers"] += told
    await upstream(inner, receive, send_back)


async def is_ready(name: str, upstream: ASGIApp, scope: Scope) -> bool:
    """Whether the upstream says, within `READY_TIMEOUT_S`, that it can answer."""
    status = 0

    async def note(message: Message) -> None:
        nonlocal status
        status = message.get("status", status)

    inner = _inner_scope(scope, frozenset())
    probe = {**inner, "method": "GET", "path": "/readyz", "raw_path": b"/readyz", "query_string": b""}
    try:
        async with asyncio.timeout(READY_TIMEOUT_S):
            await upstream(probe, without_body(), note)
    except Exception as error:  # of whatever kind: it does not answer
        log.warning("service_not_ready", service=name, cause=type(error).__name__)
        return False
    return status == 200


def without_body() -> Receive:
    """What a request of our own is read from."""
    requested = False

    async def receive() -> Message:
        nonlocal requested
        if requested:  # whoever listens for our leaving listens in vain
            await asyncio.Event().wait()
        requested = True
        return {"type": "http.request", "body": b"", "more_body": False}

    return receive


def _inner_scope(scope: Scope, names: frozenset[bytes]) -> Scope:
    """The request as the service sees it: no state, no identity, nothing but what it may know."""
    request_id = (current_request_id() or "").encode()
    headers = [*_allowed(scope["headers"], names), (b"x-request-id", request_id)]
    if (current := traceparent()) is not None:
        headers.append((TRACEPARENT.encode(), current.encode()))
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
