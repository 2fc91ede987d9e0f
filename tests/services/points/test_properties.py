"""Whatever is heard, how often and in which order: the ledger adds up and says what the facts say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID, uuid4

import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.event import Envelope, Event
from contracts.orders import (
    RedemptionCancelled,
    RedemptionCollected,
    RedemptionConfirmed,
    RedemptionRequested,
)
from services.points.holds import release_expired
from tests.harness import Databases, Person, ServiceUnderTest
from tests.services.points.story import (
    AREA,
    account,
    check_in,
    claim,
    completed,
    redemption,
    require_nothing_parked,
    require_sound_ledger,
    review,
    run_points,
    voided,
)

PRICES = (7, 10, 25)
REDEMPTION_KINDS = (RedemptionRequested, RedemptionConfirmed, RedemptionCancelled, RedemptionCollected)
WAIT = -1


@dataclass(frozen=True)
class Cast:
    """Everything that can be heard of one person: six attendances at three products, a claim, three redemptions."""

    person: Person
    facts: list[Event]
    wishes: dict[UUID, int]

    @classmethod
    def new(cls) -> Cast:
        person, products = Person(), [uuid4() for _ in range(3)]
        attendances = [check_in(person.id, product) for product in products for _ in range(2)]
        mine = claim(person.id)
        wishes = {uuid4(): price for price in PRICES}
        facts: list[Event] = [*attendances, *(voided(came) for came in attendances[:4])]
        facts += [mine, completed(mine), review(person.id, stars=3)]
        facts += [
            redemption(kind, person.id, wish, price) for wish, price in wishes.items() for kind in REDEMPTION_KINDS
        ]
        return cls(person, facts, wishes)

    def participations(self, heard: set[int]) -> int:
        """Products with a check-in that is not void."""
        valid = [index for index in heard if index < 6 and index + 6 not in heard.intersection(range(6, 10))]
        return len({index // 2 for index in valid})

    def energy(self, heard: set[int]) -> int:
        worth = dict(zip(range(10, 13), (5, 10, 6), strict=True))
        return 10 * self.participations(heard) + sum(worth[index] for index in heard if index in worth)

    def spent(self, heard: set[int]) -> int:
        """The price of everything that was collected."""
        return sum(price for place, price in enumerate(PRICES) if 13 + 4 * place + 3 in heard)


FACTS = len(Cast.new().facts)
BATCHES = st.lists(st.lists(st.integers(WAIT, FACTS - 1), min_size=1, max_size=8), max_size=8)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def points(databases: Databases) -> AsyncIterator[ServiceUnderTest]:
    async with run_points(databases) as running:
        yield running


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=BATCHES, again=st.booleans())
async def test_the_ledger_says_what_the_facts_say(
    points: ServiceUnderTest, batches: list[list[int]], again: bool
) -> None:
    cast = Cast.new()
    envelopes = [Envelope(uuid4(), fact, 1, points.clock()) for fact in cast.facts]
    heard: set[int] = set()
    for batch in batches:
        if WAIT in batch:
            points.clock.advance(minutes=11)
            await release_expired(points.db)
        chosen = [index for index in batch if index != WAIT]
        await points.deliver(*(envelopes[index] for index in chosen))
        if again:
            await points.receive(*(cast.facts[index] for index in chosen))
        heard.update(chosen)
        await require_sound_ledger(points)

    mine = await account(points, cast.person)
    assert mine["balance"] + mine["held"] - mine["debt"] == 10 * cast.participations(heard) - cast.spent(heard)
    assert mine["positive_energy"] == cast.energy(heard)
    assert mine["balance"] == 0 or mine["debt"] == 0
    shown = [entry for entry in mine["entries"] if entry["asset"] == "points"]
    for total, field in (("balance", "amount"), ("held", "held"), ("debt", "debt")):
        assert mine[total] == sum(entry[field] for entry in shown)
    answer = await points.get(f"/leaderboards?area_id={AREA}&limit=1", person=cast.person)
    score = 10 * cast.participations(heard)
    assert (answer.json()["me"] or {"score": 0})["score"] == score
    await require_nothing_parked(points)
