"""Whatever fails: every order that was accepted has all its consequences, each once, soon after all is mended.

ORDERS says how many are placed during each fault, instead of its own number.
"""

from __future__ import annotations

import os
import random
from dataclasses import replace

import pytest

from tests.chaos.conftest import SEED, Results
from tests.chaos.faults import FAULTS, Kind, Scene
from tests.chaos.letters import Letters
from tests.chaos.orders import Neighbourhood, Placed
from tests.chaos.reckoning import Fault, check_ledger, settle
from tests.chaos.stack import FailingStack
from tests.journeys.compose import SERVICES

ONLY = [word for word in os.environ.get("ONLY", "").split(",") if word]
CHOSEN = [name for name in FAULTS if not ONLY or any(word in name for word in ONLY)]
ORDERS = int(os.environ.get("ORDERS") or 0)
PARTS = (*SERVICES, "gateway", "postgres", "rabbitmq")


def strike(
    stack: FailingStack, neighbourhood: Neighbourhood, letters: Letters, rng: random.Random, name: str, kind: Kind
) -> tuple[Fault, str, Placed]:
    """Place orders while the fault happens, and reckon once it is mended; also the orders, and their name."""
    run = f"{name} {rng.randrange(16**6):06x}"
    with neighbourhood.ordering(run, kind.orders, kind.seconds, rng) as placed:
        try:
            kind.act(Scene(stack, neighbourhood, letters, rng, run, placed))
        finally:
            stack.heal(PARTS)
    found = settle(stack, run, placed)
    found.name = name
    check_ledger(neighbourhood)
    if kind.unnoticed:
        assert not placed.failures, placed.failures
    return found, run, placed


@pytest.mark.parametrize("name", random.Random(SEED).sample(CHOSEN, len(CHOSEN)))
def test_nothing_is_lost_nothing_happens_twice_and_nothing_is_left(
    name: str,
    stack: FailingStack,
    neighbourhood: Neighbourhood,
    letters: Letters,
    rng: random.Random,
    results: Results,
) -> None:
    kind = replace(FAULTS[name], orders=ORDERS or FAULTS[name].orders)
    found, _, _ = strike(stack, neighbourhood, letters, rng, name, kind)
    results.add(found)
    assert found.orders == kind.orders
    assert (found.lost, found.duplicates, found.stuck) == (0, 0, 0), found
    assert found.effects == found.delivered == found.expected
