"""Logs of the chassis' tests: one line each, tracebacks plain (the default renders local variables, in seconds)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True, scope="session")
def _plain_logs() -> Iterator[None]:
    render = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    merge = structlog.contextvars.merge_contextvars
    structlog.configure(processors=[merge, structlog.processors.add_log_level, render])
    yield
    structlog.reset_defaults()
