"""Traces (OpenTelemetry): one from the request at the door through outbox and bus to the handlers' statements.

Off unless `configure_tracing` finds a collector in the environment; then every function here returns at once. Spans
carry route templates, event types and statements with placeholders: never a path, query string, header, parameter or an
error's text, any of which may hold a contact, a code or a token.

What is decided together (a group commit, a batch of events) is one piece of work for several traces: its span is a
trace of its own, linked with a span in each of theirs. For one trace alone it is simply a child in it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
TRACEPARENT = "traceparent"

_propagator = TraceContextTextMapPropagator()
# As with logging, one for the process: what is traced crosses every part in it.
_tracer: Tracer | None = None


def configure_tracing(name: str) -> None:
    """Export spans over OTLP (HTTP) as OpenTelemetry's own variables say; nothing where they name no collector."""
    if not any(os.environ.get(variable) for variable in ENDPOINTS) or os.environ.get("OTEL_SDK_DISABLED") == "true":
        return
    # Loaded only where it is wanted: a third of what a process otherwise loads.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: name}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace_with(provider.get_tracer("linli"))


def trace_with(tracer: Tracer | None) -> None:
    """Trace from now on with this tracer; None switches it off. A database opened before is not traced."""
    global _tracer  # noqa: PLW0603 - see above
    _tracer = tracer


def tracer() -> Tracer | None:
    """What makes spans; None while nothing is traced."""
    return _tracer


def current_trace_id() -> str | None:
    """The trace that this task works for, in hexadecimal; None outside of one."""
    if _tracer is None:
        return None
    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else None


def traceparent() -> str | None:
    """The current span as W3C's `traceparent`; None where nothing is traced."""
    if _tracer is None:
        return None
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return carrier.get(TRACEPARENT)


def trace_headers() -> Mapping[str, str]:
    """What a request to another part carries of the trace."""
    current = traceparent()
    return {} if current is None else {TRACEPARENT: current}


@contextmanager
def within(parent: str | None) -> Iterator[None]:
    """Let what happens in the block belong to this `traceparent`."""
    if _tracer is None or parent is None:
        yield
        return
    with trace.use_span(trace.get_current_span(_context_of(parent)), record_exception=False):
        yield


@contextmanager
def span(
    name: str, kind: SpanKind = SpanKind.INTERNAL, *, parent: str | None = None, root: bool = False, **attributes: str
) -> Iterator[Span]:
    """A span of the block, below `parent`, else below the current one; `root` begins a trace."""
    if _tracer is None:
        yield trace.INVALID_SPAN
        return
    context = Context() if root else _context_of(parent) if parent else None
    with _tracer.start_as_current_span(
        name, context, kind, attributes, record_exception=False, set_status_on_exception=False
    ) as made:
        try:
            yield made
        except Exception as error:
            fail(made, error)
            raise


def announced(name: str, parent: str | None) -> str | None:
    """The `traceparent` for an event that is told: a span that marks the moment."""
    if _tracer is None or parent is None:
        return parent
    with span(name, SpanKind.PRODUCER, parent=parent):
        return traceparent()


@contextmanager
def together(name: str, parents: Sequence[str | None], kind: SpanKind = SpanKind.INTERNAL) -> Iterator[None]:
    """One piece of work for all of these `traceparent`s: see the module."""
    if _tracer is None:
        yield
        return
    known = sorted({parent for parent in parents if parent is not None})
    if not known:
        yield
    elif len(known) == 1:
        with span(name, kind, parent=known[0]):
            yield
    else:
        with _linked(_tracer, name, known, kind):
            yield


@contextmanager
def _linked(tracer: Tracer, name: str, parents: Sequence[str], kind: SpanKind) -> Iterator[None]:
    links = [Link(trace.get_current_span(_context_of(parent)).get_span_context()) for parent in parents]
    with ExitStack() as ended:
        batch = tracer.start_span(f"{name}, together", Context(), kind, {"linli.batch": len(parents)}, links)
        ended.callback(batch.end)
        for parent in parents:
            theirs = tracer.start_span(name, _context_of(parent), kind, links=[Link(batch.get_span_context())])
            ended.callback(theirs.end)
        with trace.use_span(batch, record_exception=False, set_status_on_exception=False):
            try:
                yield
            except Exception as error:
                fail(batch, error)
                raise


def fail(failed: Span, error: BaseException) -> None:
    """Mark a span as failed, with the kind of error alone: its text may quote a row."""
    failed.set_attribute("error.type", type(error).__name__)
    failed.set_status(Status(StatusCode.ERROR))


def _context_of(parent: str) -> Context:
    return _propagator.extract({TRACEPARENT: parent}, Context())
