"""What Linli takes while nothing happens, and how long it takes to start."""

from __future__ import annotations

import time

from bench.figures import Figure
from bench.parts import children, memory_mb, running
from bench.stage import Stage

SETTLE_S = 5


async def measure(stage: Stage) -> list[Figure]:
    """Each part by itself, and all of it in one process."""
    await stage.begin_anew()
    with stage.parts("catalog", "orders", "points", "notify") as parts:
        await stage.pause(SETTLE_S)
        memory = {name: memory_mb(part.pid) for name, part in parts.items()}
    figures = [Figure(f"idle memory of {name}", used, "MB", reach="≤ 110") for name, used in memory.items()]
    environment = {"LINLI_DATA": str(stage.folder / "standalone"), "PORT": "0"}
    log = stage.folder / "standalone.log"
    with running(["standalone.py"], environment, log):
        pass
    began = time.perf_counter()
    with running(["standalone.py"], environment, log) as standalone:
        took = time.perf_counter() - began
        await stage.pause(SETTLE_S)
        used = memory_mb(*_family(standalone.pid))
    return [
        *figures,
        Figure("idle memory of standalone, its database included", used, "MB", reach="≤ 450"),
        Figure("start of standalone, warm", took, "s", reach="≤ 4"),
    ]


def _family(pid: int) -> list[int]:
    return [pid, *(one for child in children(pid) for one in _family(child))]
