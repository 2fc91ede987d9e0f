"""Runs inside a service's container instead of `python -m services.NAME`: the same process, which dies where told.

Where stands in a file: the name of a failpoint of the relay, or `consumer.before_commit`, `consumer.after_commit`,
`request.…` for the transactions of the inbox and all others. Reached, it is the process's end, without a word.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path.cwd()))

from chassis import process
from chassis.inbox import Inbox
from chassis.world import shared_world

TOLD = Path("/tmp/die-at")  # noqa: S108 - a file system of this container only

_consuming: ContextVar[bool] = ContextVar("consuming", default=False)
_receive = Inbox.receive


async def receive(inbox: Inbox, documents: Sequence[str]) -> None:
    token = _consuming.set(True)
    try:
        await _receive(inbox, documents)
    finally:
        _consuming.reset(token)


def die_where_told(name: str) -> None:
    if name in {"before_commit", "after_commit"}:
        name = f"{'consumer' if _consuming.get() else 'request'}.{name}"
    try:
        told = TOLD.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return
    if name == told:
        TOLD.unlink(missing_ok=True)
        os.kill(os.getpid(), signal.SIGKILL)


def main(service: str) -> int:
    world = replace(shared_world(), failpoint=die_where_told)
    Inbox.receive = receive  # type: ignore[method-assign,assignment]
    process.shared_world = lambda: world  # type: ignore[attr-defined]
    return process.main(importlib.import_module(f"services.{service}.app").SERVICE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
