"""What is told of every request: a line in the log and a span, with its id; never a query string, body or header."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, NamedTuple
from urllib.parse import quote

import orjson
import structlog
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chassis.metrics import Requests
from chassis.tracing import TRACEPARENT, current_trace_id, span, traceparent, tracer, within
from chassis.world import World

HEALTH_PATHS = frozenset({"/healthz", "/readyz"})
REQUEST_ID_HEADER = b"x-request-id"
REQUEST_ID_PATTERN = re.compile(r"^[A-Za-z0-9_-]{8,64}$")
# In the scope, where no framework noted the route that answers: the gateway puts its template there.
ROUTE_TEMPLATE = "linli.route_template"

log = structlog.get_logger("http")

# What every log line of a request says. structlog has a variable for each name, and looks through all that there are.
_context: ContextVar[Mapping[str, str | None] | None] = ContextVar("context", default=None)


def configure_logging(output: Literal["text", "json"], level: int = logging.INFO) -> None:
    """Send everything, the standard library's loggers too, to standard error in one format."""
    shared: list[structlog.typing.Processor] = [
        _add_context,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Plain tracebacks: one with local variables would write contacts and codes into the log.
    text = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    last = [structlog.processors.format_exc_info, _render_json] if output == "json" else [text]
    lines = structlog.BytesLoggerFactory(sys.stderr.buffer)
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lines if output == "json" else structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")
    # It writes a traceback a second while the broker is away; chassis.rabbit says it once.
    logging.getLogger("aiormq.connection").setLevel(logging.CRITICAL)


def _add_context(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    trace_id = current_trace_id()
    return {**event, **(_context.get() or {}), **({} if trace_id is None else {"trace_id": trace_id})}


def _render_json(_logger: object, _method: str, event: structlog.typing.EventDict) -> bytes:
    try:
        return orjson.dumps(event, default=repr)
    except TypeError:  # half a surrogate pair, or a number of more than 64 bits
        return json.dumps(event, default=repr).encode()


class RequestContext:
    """ASGI middleware: gives every request an id, answers with it, and tells of the request in one line and one span.

    `outermost`: the callers are strangers, who do not say to which trace a request belongs.
    """

    def __init__(self, app: ASGIApp, world: World, part: str, requests: Requests, *, outermost: bool = False) -> None:
        self._app = app
        self._world = world
        self._part = part
        self._requests = requests
        self._outermost = outermost
        # By itself a logger is put together anew for every line.
        self._log = log.bind()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif tracer() is None or scope["path"] in HEALTH_PATHS:
            await self._answer(scope, receive, send)
        else:
            parent = None if self._outermost else _header(scope, TRACEPARENT.encode())
            with span("request", SpanKind.SERVER, parent=parent, root=parent is None, **{"linli.part": self._part}):
                await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = _given_id(scope) or str(self._world.new_id())
        started = time.perf_counter()
        status = 500

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [pair for pair in message.get("headers", []) if pair[0].lower() != REQUEST_ID_HEADER]
                message["headers"] = [*headers, (REQUEST_ID_HEADER, request_id.encode())]
            await send(message)

        outside = _context.set({"request_id": request_id, "part": self._part})
        try:
            await self._app(scope, receive, send_with_id)
        finally:
            took_s = time.perf_counter() - started
            if tracer() is not None:
                _describe(trace.get_current_span(), scope, status, request_id)
            # Asked every few seconds by whoever watches the process.
            if scope["path"] not in HEALTH_PATHS or status != 200:
                self._log.info(
                    "request",
                    method=scope["method"],
                    path=quote(scope["path"]),
                    status=status,
                    took_ms=round(took_s * 1000, 1),
                )
                self._requests.count(self._part, scope["method"], route_template(scope), status, took_s)
            _context.reset(outside)


def _describe(made: Span, scope: Scope, status: int, request_id: str) -> None:
    """Without a route, method and path are a stranger's own words: they are left out."""
    template = route_template(scope)
    if template is not None:
        made.update_name(f"{scope['method']} {template}")
        made.set_attribute("http.route", template)
        made.set_attribute("http.request.method", scope["method"])
    made.set_attribute("http.response.status_code", status)
    if status >= 500:
        made.set_status(StatusCode.ERROR)
    made.set_attribute("linli.request_id", request_id)


def route_template(scope: Scope) -> str | None:
    """The path of the route that answered, with its parameters' names; None where there was none."""
    template: str | None = scope.get(ROUTE_TEMPLATE) or getattr(scope.get("route"), "path", None)
    return template


class Origin(NamedTuple):
    """What facts and log lines follow from: a request, and the span in which it was asked."""

    request_id: str | None = None
    traceparent: str | None = None


def current_origin() -> Origin:
    """Of what this task does now."""
    return Origin(current_request_id(), traceparent())


def current_request_id() -> str | None:
    """The id of the request that this task answers, None outside of one."""
    return (_context.get() or {}).get("request_id")


@contextmanager
def following(origin: Origin) -> Iterator[None]:
    """Let facts and log lines within the block name this origin: a group commit answers many in one task."""
    outside = _context.set({**(_context.get() or {}), "request_id": origin.request_id})
    try:
        with within(origin.traceparent):
            yield
    finally:
        _context.reset(outside)


def _given_id(scope: Scope) -> str | None:
    given = _header(scope, REQUEST_ID_HEADER)
    return given if given is not None and REQUEST_ID_PATTERN.match(given) else None


def _header(scope: Scope, wanted: bytes) -> str | None:
    for name, value in scope["headers"]:
        if name == wanted:
            return str(value.decode("latin-1"))
    return None
