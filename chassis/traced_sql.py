"""A span for every statement within a trace: what is polled or tidied up by itself belongs to none.

Of SQLAlchemy's events, since the instrumentation for asyncpg notes an error's text, and with it the row that failed.
"""

from __future__ import annotations

from typing import Any

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind
from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext

from chassis.tracing import fail, tracer

STATEMENT_MAX = 2000


def trace_statements(engine: Engine) -> None:
    """Trace what the engine executes, with placeholders and without values; nothing while tracing is off."""
    if tracer() is None:
        return
    event.listen(engine, "before_cursor_execute", _before)
    event.listen(engine, "after_cursor_execute", _after)
    event.listen(engine, "handle_error", _failed)


def _before(_connection: Any, _cursor: Any, statement: str, _values: Any, context: Any, _many: bool) -> None:
    making = tracer()
    if making is None or not trace.get_current_span().is_recording():
        return
    words = statement.split(maxsplit=1)
    attributes = {"db.system.name": "postgresql", "db.query.text": statement[:STATEMENT_MAX]}
    context.linli_span = making.start_span(words[0] if words else "SQL", None, SpanKind.CLIENT, attributes)


def _after(_connection: Any, _cursor: Any, _statement: str, _values: Any, context: Any, _many: bool) -> None:
    made: Span | None = getattr(context, "linli_span", None)
    if made is not None:
        made.end()


def _failed(failed: ExceptionContext) -> None:
    made: Span | None = getattr(failed.execution_context, "linli_span", None)
    if made is not None:
        fail(made, failed.original_exception)
        made.end()
