"""Whatever is delayed, doubled, overtaken or dies, all is well in the end; and a seed says exactly what happened.

A few schedules; `make simulate COUNT=200` runs many, `make simulate CONTROLS=1` all the controls.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.harness import Databases
from tests.simulation.__main__ import Runs
from tests.simulation.controls import CONTROLS
from tests.simulation.databases import Shelf
from tests.simulation.neighbourhood import furnish
from tests.simulation.report import describe, read_skipped, write_skipped
from tests.simulation.schedule import STEPS, Outcome
from tests.simulation.shrink import shrink

SEEDS = range(1, 2)
# Those whose damage comes soon; within how many schedules each must be seen.
QUICK_CONTROLS = ["a relay that deletes before it publishes", "claims without a count"]
SEEN_WITHIN = 20


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def runs(databases: Databases, server_url: str) -> AsyncIterator[Runs]:
    shelf = await Shelf.make(server_url, databases)
    try:
        yield Runs(shelf, await furnish(shelf))
    finally:
        await shelf.close()


async def test_all_is_well_after_any_schedule(runs: Runs) -> None:
    for seed in SEEDS:
        outcome = await runs.one(seed)
        assert not outcome.problems, "\n".join([*outcome.lines, *describe(outcome)])


async def test_a_seed_gives_the_same_schedule_and_the_same_end_each_time(runs: Runs) -> None:
    first, second = await runs.one(0), await runs.one(0)
    assert (first.lines, first.digest) == (second.lines, second.digest)


@pytest.mark.parametrize("control", QUICK_CONTROLS)
async def test_control_a_weaker_part_does_damage_that_is_seen(runs: Runs, control: str) -> None:
    for seed in range(SEEN_WITHIN):
        if (await runs.one(seed, build=CONTROLS[control])).problems:
            return
    pytest.fail(f"{control}: not seen in {SEEN_WITHIN} schedules")


async def test_a_failing_schedule_is_shrunk_to_the_steps_it_needs() -> None:
    async def fails_with_12_and_40(left_out: frozenset[int]) -> Outcome:
        return Outcome(1, problems=[] if {12, 40} & left_out else ["both are there"])

    assert await shrink(fails_with_12_and_40, runs_max=1000) == frozenset(range(STEPS)) - {12, 40}


@pytest.mark.parametrize("text", ["", "3", "0-11,13,20-89"])
def test_steps_left_out_are_written_and_read(text: str) -> None:
    assert write_skipped(read_skipped(text)) == text
