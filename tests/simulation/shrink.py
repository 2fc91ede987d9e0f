"""The steps that a failing schedule can do without: dropped in ever smaller pieces, as long as it goes on failing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tests.simulation.schedule import STEPS, Outcome

RUNS_MAX = 60


async def shrink(run: Callable[[frozenset[int]], Awaitable[Outcome]], runs_max: int = RUNS_MAX) -> frozenset[int]:
    """The steps to leave out, with which `run` still fails."""
    left_out: frozenset[int] = frozenset()
    size, runs = STEPS // 2, 0
    while size and runs < runs_max:
        kept = [step for step in range(STEPS) if step not in left_out]
        for begin in range(0, len(kept), size):
            without = left_out | set(kept[begin : begin + size])
            runs += 1
            if runs > runs_max:
                break
            if (await run(without)).problems:
                left_out = without
        size //= 2
    return left_out
