"""What the processes of one test run share: a folder, in which each thing that a run has once is made once.

The run's first process makes the folder; its workers inherit its name.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

VARIABLE = "LINLI_TEST_RUN"


def begin() -> None:
    """For the run's first process, before any worker is there."""
    os.environ[VARIABLE] = tempfile.mkdtemp(prefix="linli-tests-")


def folder() -> Path:
    return Path(os.environ[VARIABLE])


def end() -> None:
    """For the run's first process, after the last worker."""
    if any(folder().glob("*.container")):
        from tests.containers import remove_containers  # Docker's client is slow to import, and most runs need none

        remove_containers()
    shutil.rmtree(folder())
    del os.environ[VARIABLE]


def once(name: str, make: Callable[[], str]) -> str:
    """What `make` answered the run's first worker that asked; the others wait for it."""
    kept = folder() / name
    with (folder() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            kept.write_text(make(), encoding="utf-8")
    return kept.read_text(encoding="utf-8")
