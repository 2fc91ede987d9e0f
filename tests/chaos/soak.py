"""The same faults for as long as told: MINUTES (60), ORDERS (50,000) in all, FAULTS (20), in the order of SEED.

It ends with the last fault, or when the time is up; at the end every order of the whole run is reckoned once more.
"""

from __future__ import annotations

import os
import random
import time
from dataclasses import replace

from tests.chaos.conftest import Results
from tests.chaos.faults import FAULTS
from tests.chaos.letters import Letters
from tests.chaos.orders import Neighbourhood, Placed
from tests.chaos.reckoning import check_ledger, reckon
from tests.chaos.stack import FailingStack
from tests.chaos.test_faults import strike

MINUTES = float(os.environ.get("MINUTES") or 60)
FAULT_COUNT = int(os.environ.get("FAULTS") or 20)
ORDERS_EACH = int(os.environ.get("ORDERS") or 50_000) // FAULT_COUNT
ORDERS_A_SECOND = 50


def test_over_the_whole_time_nothing_is_lost_and_nothing_happens_twice(
    stack: FailingStack, neighbourhood: Neighbourhood, letters: Letters, rng: random.Random, results: Results
) -> None:
    end, struck = time.monotonic() + 60 * MINUTES, list[tuple[str, Placed]]()
    for _ in range(FAULT_COUNT):
        if time.monotonic() > end:
            break
        name = rng.choice(list(FAULTS))
        seconds = max(FAULTS[name].seconds, ORDERS_EACH / ORDERS_A_SECOND)
        kind = replace(FAULTS[name], orders=ORDERS_EACH, seconds=seconds)
        found, run, placed = strike(stack, neighbourhood, letters, rng, name, kind)
        results.add(found)
        struck.append((run, placed))
        assert (found.lost, found.duplicates, found.stuck) == (0, 0, 0), found
    for run, placed in struck:
        found = reckon(stack, run, placed)
        assert (found.lost, found.duplicates, found.stuck) == (0, 0, 0), found
    check_ledger(neighbourhood)
    assert struck
