"""How a schedule that failed is told, and run again."""

from __future__ import annotations

from collections.abc import Collection

from tests.simulation.schedule import Outcome


def describe(outcome: Outcome, skipped: Collection[int] = ()) -> list[str]:
    """What was wrong, and how to see it again."""
    if not outcome.problems:
        return [f"seed {outcome.seed}: all is well, digest {outcome.digest}"]
    skip = f" SKIP={write_skipped(skipped)}" if skipped else ""
    return [f"seed {outcome.seed} failed:", *outcome.problems, f"again: make simulate SEED={outcome.seed}{skip}"]


def write_skipped(steps: Collection[int]) -> str:
    """Numbers of steps as ranges: 0-3,7."""
    ranges: list[list[int]] = []
    for step in sorted(steps):
        if ranges and step == ranges[-1][-1] + 1:
            ranges[-1] = [ranges[-1][0], step]
        else:
            ranges.append([step])
    return ",".join("-".join(map(str, ends)) for ends in ranges)


def read_skipped(text: str) -> frozenset[int]:
    """The steps that `write_skipped` wrote."""
    steps: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        steps.update(range(int(first), int(last or first) + 1))
    return frozenset(steps)
