"""`python -m tests.simulation` (`make simulate`): schedules from seeds, on an embedded PostgreSQL of their own.

SEED=7      this schedule alone, with every step; SKIP=0-20,31 leaves steps out
COUNT=200   so many schedules, from START (0) on; a failing one is shrunk and printed
CONTROLS=1  each control, until the simulation sees its damage, in at most COUNT schedules
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import tempfile
import time
from pathlib import Path

import structlog

from chassis import embedded_postgres
from tests.harness import Databases
from tests.simulation.clients import Memory
from tests.simulation.controls import CONTROLS
from tests.simulation.databases import Shelf
from tests.simulation.neighbourhood import furnish
from tests.simulation.parts import Build
from tests.simulation.report import describe, read_skipped
from tests.simulation.schedule import Outcome, run
from tests.simulation.shrink import shrink

COUNT = 30
REPORT_EVERY = 25


def say(words: str) -> None:
    sys.stdout.write(words + "\n")
    sys.stdout.flush()


class Runs:
    """Schedules on one set of databases."""

    def __init__(self, shelf: Shelf, furnished: Memory) -> None:
        self._shelf = shelf
        self._furnished = furnished

    async def one(self, seed: int, skipped: frozenset[int] = frozenset(), build: Build | None = None) -> Outcome:
        return await run(self._shelf, self._furnished, seed, build, skipped)

    async def replay(self, seed: int, skipped: frozenset[int]) -> int:
        outcome = await self.one(seed, skipped)
        say("\n".join([*outcome.lines, *describe(outcome, skipped)]))
        return 1 if outcome.problems else 0

    async def many(self, start: int, count: int) -> int:
        """Run them; returns how many failed."""
        begun, failed = time.monotonic(), 0
        for seed in range(start, start + count):
            outcome = await self.one(seed)
            if outcome.problems:
                failed += 1
                skipped = await shrink(lambda left_out, seed=seed: self.one(seed, left_out))  # type: ignore[misc]
                outcome = await self.one(seed, skipped)
                say("\n".join([*outcome.lines, *describe(outcome, skipped)]))
            if (seed - start + 1) % REPORT_EVERY == 0:
                say(f"{seed - start + 1} schedules, {failed} failed")
        minutes = (time.monotonic() - begun) / 60
        say(f"{count} schedules from seed {start}, {failed} failed, {count / minutes:.0f} a minute")
        return failed

    async def controls(self, start: int, count: int) -> int:
        """Run each control until a schedule sees its damage; returns how many were not seen."""
        unseen = 0
        for name, build in CONTROLS.items():
            for seed in range(start, start + count):
                if problems := (await self.one(seed, build=build)).problems:
                    say(f"{name}: seen in schedule {seed - start + 1}: {problems[0].splitlines()[0][:160]}")
                    break
            else:
                unseen += 1
                say(f"{name}: NOT seen in {count} schedules")
        return unseen


async def main(server_url: str) -> int:
    shelf = await Shelf.make(server_url, Databases(server_url))
    runs = Runs(shelf, await furnish(shelf))
    start, count = int(os.environ.get("START") or 0), int(os.environ.get("COUNT") or COUNT)
    try:
        if os.environ.get("SEED"):
            return await runs.replay(int(os.environ["SEED"]), read_skipped(os.environ.get("SKIP", "")))
        if os.environ.get("CONTROLS"):
            return await runs.controls(start, count)
        return await runs.many(start, count)
    finally:
        await shelf.close()


if __name__ == "__main__":
    # Deaths and refused events are the point here, and not worth a line each.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        server = embedded_postgres.start(Path(folder) / "data", durable=False)
        try:
            sys.exit(1 if asyncio.run(main(server.url())) else 0)
        finally:
            server.stop()
