"""ASGI middleware that refuses what no route of ours takes: large bodies, NUL in the address, encoded dot segments, and
what two parts that pass a request on might understand differently."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chassis.errors import BadRequest, Refusal, TooLarge, answer
from chassis.i18n import negotiate

BODY_MAX_BYTES = 1_000_000
ADDRESS_MAX_BYTES = 8_000
# What is said once: of two, one part of a deployment would take the first and another the last.
SAID_ONCE = frozenset(
    {
        b"authorization",
        b"content-length",
        b"content-type",
        b"host",
        b"idempotency-key",
        b"if-match",
        b"transfer-encoding",
    }
)
VERSIONS = frozenset({"1.0", "1.1"})


class RequestLimits:
    """Counts the body while it is read, so that a missing or false Content-Length changes nothing."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        refusal = _ambiguous(scope, headers) or _bad_address(scope) or _announced_too_large(headers)
        if refusal is not None:
            await _refuse(refusal, headers, scope, receive, send)
            return
        await self._with_counted_body(scope, headers, receive, send)

    async def _with_counted_body(self, scope: Scope, headers: dict[bytes, bytes], receive: Receive, send: Send) -> None:
        seen = 0
        started = False

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                if seen > BODY_MAX_BYTES:
                    raise TooLarge
            return message

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, counted, watched)
        except TooLarge as refusal:
            if started:
                raise
            await _refuse(refusal, headers, scope, receive, send)


def _ambiguous(scope: Scope, headers: dict[bytes, bytes]) -> Refusal | None:
    """Framing is the server's to check; this is what it lets pass."""
    twice = len(scope["headers"]) > len(headers) and _said_twice(scope)
    coding = headers.get(b"transfer-encoding")
    recoded = coding is not None and (coding.strip().lower() != b"chunked" or scope["http_version"] == "1.0")
    return BadRequest() if twice or recoded or scope["http_version"] not in VERSIONS else None


def _said_twice(scope: Scope) -> bool:
    names = [name for name, _ in scope["headers"]]
    return any(names.count(name) > 1 for name in SAID_ONCE)


def _bad_address(scope: Scope) -> Refusal | None:
    raw_path: bytes = scope.get("raw_path") or scope["path"].encode("utf-8", "surrogateescape")
    query: bytes = scope["query_string"]
    lowered = raw_path.lower()
    encoded_dots = b"%2e" in lowered or b"%2f" in lowered or b"%5c" in lowered or b"/../" in lowered + b"/"
    too_long = len(raw_path) + len(query) > ADDRESS_MAX_BYTES
    return BadRequest() if encoded_dots or too_long or b"%00" in lowered or b"%00" in query else None


def _announced_too_large(headers: dict[bytes, bytes]) -> Refusal | None:
    length = headers.get(b"content-length", b"0")
    if not length.isdigit():
        return BadRequest()
    # Python reads no number of thousands of digits.
    return TooLarge() if len(length) > 20 or int(length) > BODY_MAX_BYTES else None


async def _refuse(refusal: Refusal, headers: dict[bytes, bytes], scope: Scope, receive: Receive, send: Send) -> None:
    language = headers.get(b"accept-language", b"").decode("latin-1")
    await answer(refusal, negotiate(language))(scope, receive, send)
