"""How a process of this product begins and ends: its settings, its log, its loop, its exit code."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import uvloop

from chassis.server import say
from chassis.settings import BadSetting, Settings
from chassis.telemetry import configure_logging
from chassis.tracing import configure_tracing


def run(name: str, serve: Callable[[Settings], Coroutine[Any, Any, bool]]) -> int:
    """Serve this part until a signal; the process's exit code. `serve` returns whether it ever answered anything."""
    try:
        settings = Settings.read()
        configure_logging(settings.log_format)
        configure_tracing(f"linli-{name}")
        started = uvloop.run(serve(settings))
    except BadSetting as error:
        say(f"cannot start: {error}")
        return 2
    say("stopped" if started else "could not start")
    return 0 if started else 3
