"""The control of all: what is lost, what happens twice and what is left over is seen by the reckoning."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from uuid import uuid4

from chassis.topology import EXCHANGE
from contracts.event import Envelope
from tests.chaos.faults import CLAIM_ACCEPTED, a_claim
from tests.chaos.letters import Letters
from tests.chaos.orders import Neighbourhood
from tests.chaos.reckoning import reckon, settle
from tests.chaos.stack import FailingStack
from tests.journeys.compose import wait_until

ORDERS = 30


def test_what_is_lost_what_happens_twice_and_what_is_left_is_seen(
    stack: FailingStack, neighbourhood: Neighbourhood, letters: Letters, rng: random.Random
) -> None:
    run = f"control {rng.randrange(16**6):06x}"
    with neighbourhood.ordering(run, ORDERS, 3, rng) as placed:
        pass
    found = settle(stack, run, placed)
    assert (found.orders, found.lost, found.duplicates, found.stuck) == (ORDERS, 0, 0, 0)

    title, person = next(iter(placed.claims.values()))
    # The same claim told once more by an event of its own: nobody can know that they heard of it.
    again = Envelope(uuid4(), a_claim(neighbourhood.area, title, person), 1, datetime.now(UTC)).to_json()
    letters.send(EXCHANGE, CLAIM_ACCEPTED, again)
    wait_until(lambda: reckon(stack, run, placed).duplicates == 2, 60, "two awards and two messages are not seen")

    stack.sql("orders", f"DELETE FROM claims WHERE id = '{next(iter(placed.claims))}'")  # noqa: S608
    stack.sql("notify", f"DELETE FROM messages WHERE params->>'title' = '{title}' AND template = 'claim_accepted'")  # noqa: S608
    told = sum(one == title for one, _ in placed.claims.values())
    assert reckon(stack, run, placed).lost == 1 + told

    document = "'x', 'x', 'x', 'retry', 0, now() + interval '1 day', 'x', 'x', now()"
    columns = "event_id, type, partition_key, document, state, attempts, next_at, cause, fingerprint, parked_at"
    stack.sql("points", f"INSERT INTO parked ({columns}) VALUES ('{uuid4()}', {document})")  # noqa: S608
    assert reckon(stack, run, placed).stuck == 1
    stack.sql("points", "DELETE FROM parked WHERE cause = 'x'")
