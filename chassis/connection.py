"""One connection of the HTTP server, which waits for nobody for ever and keeps no more of a request than it says here.

uvicorn bounds neither: a client that sends its request a byte at a time holds a connection for as long as it likes, and
one that sends headers of 60 MB makes everybody else wait while they are put together.

| limit | over it |
|---|---|
| request line and headers, or trailers: `HEAD_MAX_BYTES` | 431 |
| from the first byte to the last header: `HEAD_TIMEOUT_S` | 408; without a first byte it is closed |
| from there to the end of the body: `BODY_TIMEOUT_S` | 408, or closed when its answer has begun |
| nothing of an answer is taken: `TAKE_TIMEOUT_S` | closed |
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any, Literal

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from chassis.errors import BadRequest, HeadTooLarge, Refusal, TooSlow, answer
from chassis.i18n import negotiate

HEAD_MAX_BYTES = 32_768
HEAD_TIMEOUT_S = 10.0
# A body has at most a megabyte (chassis.limits).
BODY_TIMEOUT_S = 30.0
TAKE_TIMEOUT_S = 60.0
# After a refusal what still comes is thrown away, and not answered with a reset that would overtake the refusal.
LINGER_S = 1.0

log = structlog.get_logger(__name__)


class Connection(HttpToolsProtocol):
    """uvicorn's protocol with limits; what it refuses by itself it says as a problem document.

    Timers are set for what has begun and is not whole: a request that comes in one piece costs none.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._part: Literal["head", "body"] | None = None
        self._head_bytes = 0
        # What was handed to the parser since it last told of anything: a header that has no end yet, say.
        self._untold_bytes = 0
        self._told = False
        self._refused = False
        self._deadline: asyncio.TimerHandle | None = None
        self._taking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_deadline()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._told = False
        super().data_received(data)
        self._untold_bytes = 0 if self._told else self._untold_bytes + len(data)
        if self._untold_bytes > HEAD_MAX_BYTES:
            self._refuse(HeadTooLarge())
        elif not self._refused:
            self._watch()

    # What the parser tells

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._enter("head")
        self._head_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + len(b": \r\n"))
        # Else it is a trailer, and what comes after the body is no header: who looks at those has decided already.
        if self._part == "head":
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._enter("body")

    def on_body(self, body: bytes) -> None:
        self._told = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._enter(None)

    def _enter(self, part: Literal["head", "body"] | None) -> None:
        self._part = part
        self._told = True
        self._forget_deadline()

    def _count(self, size: int) -> None:
        self._told = True
        self._head_bytes += size
        if self._head_bytes > HEAD_MAX_BYTES:
            raise HeadTooLarge  # the parser stops, and uvicorn calls `send_400_response`

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's text, which no client is to rest on
        """Refuse what the parser cannot read, or what was more than a head may be."""
        self._refuse(HeadTooLarge() if self._head_bytes > HEAD_MAX_BYTES else BadRequest())

    # Deadlines

    @property
    def _answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle  # none before the first request, whatever uvicorn's types say
        return cycle is not None and not cycle.response_complete

    def _watch(self) -> None:
        """Set a deadline for what the client owes us, unless one is set."""
        if self._deadline is None and (self._part is not None or not self._answering):
            wait_s = BODY_TIMEOUT_S if self._part == "body" else HEAD_TIMEOUT_S
            self._deadline = self.loop.call_later(wait_s, self._too_slow)

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        waits_for_us = self.flow.read_paused if self._part == "body" else self._answering
        if waits_for_us:
            self._watch()
        elif self._part is None:
            self.transport.close()
        else:
            self._refuse(TooSlow())

    def pause_writing(self) -> None:
        super().pause_writing()
        self._taking = self.loop.call_later(TAKE_TIMEOUT_S, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None

    # Refusals

    def _refuse(self, refusal: Refusal) -> None:
        """Say it and close; without a word where an answer has begun, or is owed to an earlier request."""
        self._refused = True
        self._forget_deadline()
        log.info("connection_refused", cause=refusal.type)
        if self._answering:
            if self._part != "body" or self.cycle.response_started or self.pipeline:
                self.transport.abort()
                return
            # The application hears that its client has gone, and what it still says goes nowhere.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.write(_as_bytes(refusal, self.headers or ()))
        self.flow.resume_reading()
        self.loop.call_later(LINGER_S, self.transport.close)


def _as_bytes(refusal: Refusal, headers: Any) -> bytes:
    """The refusal's answer as it goes over the wire, in the language that the headers so far ask for."""
    language: bytes = next((value for name, value in headers if name == b"accept-language"), b"")
    response = answer(refusal, negotiate(language.decode("latin-1")))
    lines = [b"HTTP/1.1 %d %b" % (response.status_code, HTTPStatus(response.status_code).phrase.encode())]
    lines += [name + b": " + value for name, value in response.raw_headers]
    return b"\r\n".join([*lines, b"connection: close", b"", bytes(response.body)])
