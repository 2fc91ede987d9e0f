"""The cheap ones of `make chaos`, one after another in one stream of orders: nothing is lost, nothing happens twice."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.chaos.faults import Scene, cut_connections, cut_off, hold_up_publishers, unbind
from tests.chaos.letters import Letters
from tests.chaos.orders import Neighbourhood
from tests.chaos.reckoning import check_ledger, left, settle
from tests.chaos.stack import FailingStack

ORDERS, SECONDS = 150, 20


@pytest.fixture(scope="module")
def letters(stack: FailingStack) -> Iterator[Letters]:
    with closing(Letters(stack)) as found:
        yield found


@pytest.fixture(scope="module")
def neighbourhood(stack: FailingStack) -> Iterator[Neighbourhood]:
    with closing(Neighbourhood(stack.url, members=10)) as found:
        yield found


def test_orders_placed_while_things_fail_have_all_their_consequences_once(
    stack: FailingStack, neighbourhood: Neighbourhood, letters: Letters
) -> None:
    rng, left_before = random.Random(19), left(stack)  # by other tests
    with neighbourhood.ordering("faults", ORDERS, SECONDS, rng) as placed:
        scene = Scene(stack, neighbourhood, letters, rng, "faults", placed)
        cut_connections(scene, times=2)
        unbind(scene, seconds=3)
        hold_up_publishers(scene, seconds=3)
        cut_off(scene, "points", seconds=5)
    found = settle(stack, "faults", placed, left_before)
    assert found.orders == ORDERS
    assert (found.lost, found.duplicates, found.stuck) == (0, 0, 0), found
    assert found.effects == found.delivered == found.expected
    check_ledger(neighbourhood)
