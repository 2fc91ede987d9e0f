"""Linli's parts as processes of their own, and what the kernel says of a process: its CPU time and its memory."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
READY = re.compile(r"ready on (http://\S+)")
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 20
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Part:
    """A running process and where it answers."""

    pid: int
    url: str


@contextmanager
def running(arguments: list[str], environment: Mapping[str, str], log: Path) -> Iterator[Part]:
    """`python ARGUMENTS` until the block ends; it is there once it says that it is ready."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LINLI_")}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, env={**inherited, **environment}, stdout=output, stderr=output
        )
    try:
        yield Part(process.pid, _ready(process, log))
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _ready(process: subprocess.Popen[bytes], log: Path) -> str:
    end = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < end and process.poll() is None:
        if found := READY.search(log.read_text(encoding="utf-8", errors="replace")):
            return found[1]
        time.sleep(0.02)
    raise RuntimeError(f"it does not start: {log.read_text(encoding='utf-8')[-2000:]}")


def cpu_s(pid: int) -> float:
    """CPU seconds, in user and in kernel mode, that the process and all that came from it have used so far."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except FileNotFoundError:  # ended meanwhile, and counted with its parent
        return 0.0
    ticks = sum(int(field) for field in fields[11:15])
    return ticks * TICK_S + sum(cpu_s(child) for child in children(pid))


def memory_mb(*pids: int) -> float:
    """What the processes hold of the machine's memory, what they share counted in parts (PSS), in MB."""
    total_kb = 0
    for pid in pids:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
        total_kb += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return total_kb / 1024


def children(pid: int) -> list[int]:
    """The processes that this one started."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()]
    except FileNotFoundError:
        return []
