"""A redemption always ends, in whatever order facts, requests and deadlines come; stock and points come right."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from chassis.tables import parked
from contracts.event import Envelope, Event
from contracts.orders import (
    RedemptionCancelled,
    RedemptionCollected,
    RedemptionConfirmed,
    RedemptionRequested,
)
from contracts.points import HoldCaptured, HoldFact, HoldPlaced, HoldRefused, HoldReleased
from services.orders.app import SERVICE
from services.orders.holds import TRANSITIONS
from services.orders.redemptions import end_overdue
from tests.harness import Databases, Person, ServiceUnderTest, operator, run_service
from tests.services.orders.shop import COST, OPEN, REDEMPTION_FACTS, Shop, hold, open_shop

STOCK = 5
STATES = ("requested", "confirmed", "collected", "completed", "refused", "cancelled")
HOLD_FACTS: tuple[type[HoldFact], ...] = (HoldPlaced, HoldRefused, HoldCaptured, HoldReleased)

# What each fact about the hold makes of each state; `dead` facts contradict what is known and go to a person.
OUTCOMES = {
    HoldPlaced: ("confirmed", "confirmed", "collected", "completed", "refused", "cancelled"),
    HoldRefused: ("refused", "cancelled", "collected", "completed", "refused", "cancelled"),
    HoldCaptured: ("dead", "dead", "completed", "completed", "dead", "dead"),
    HoldReleased: ("cancelled", "cancelled", "collected", "completed", "refused", "cancelled"),
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def orders(databases: Databases) -> AsyncIterator[ServiceUnderTest]:
    async with run_service(SERVICE, databases) as service:
        yield service


async def brought_to(shop: Shop, state: str) -> Any:
    """The id of a new redemption in this state."""
    ann = Person()
    redemption = (await shop.redeem(ann)).json()
    if state in {"confirmed", "collected", "completed"}:
        await shop.orders.receive(hold(HoldPlaced, redemption["id"]))
    if state in {"collected", "completed"}:
        await shop.collect(operator(), (await shop.see(ann, redemption["id"]))["pickup_code"])
    if state == "completed":
        await shop.orders.receive(hold(HoldCaptured, redemption["id"]))
    if state == "refused":
        await shop.orders.receive(hold(HoldRefused, redemption["id"]))
    if state == "cancelled":
        await shop.cancel(ann, redemption["id"])
    return redemption["id"]


@pytest.mark.parametrize("kind", HOLD_FACTS)
@pytest.mark.parametrize("state", STATES)
async def test_each_fact_in_each_state_once_or_twice_has_the_outcome_of_the_table(
    orders: ServiceUnderTest, state: str, kind: type[HoldFact]
):
    shop = await open_shop(orders)
    redemption_id = await brought_to(shop, state)
    assert (await shop.see(operator(), redemption_id))["status"] == state
    expected = OUTCOMES[kind][STATES.index(state)]

    for envelope in await orders.receive(hold(kind, redemption_id)):
        await orders.deliver(envelope, envelope)
    await orders.receive(hold(kind, redemption_id), sequence=2)
    after = (await shop.see(operator(), redemption_id))["status"]
    assert after == (state if expected == "dead" else expected)
    assert await shop.taken() == (0 if after in {"refused", "cancelled"} else 1)
    async with orders.db.transaction() as session:
        waits = (await session.scalars(select(parked.c.id).where(parked.c.partition_key == str(redemption_id)))).all()
    assert bool(waits) == (expected == "dead")


def test_the_table_names_every_fact_about_a_hold():
    assert set(TRANSITIONS) == set(HOLD_FACTS)
    assert {state for transitions in TRANSITIONS.values() for state in transitions} <= set(STATES)


STEPS = st.one_of(
    st.tuples(st.just("redeem"), st.integers(1, 3)),
    st.tuples(st.just("tell"), st.tuples(st.integers(0, 5), st.sampled_from(HOLD_FACTS))),
    st.tuples(st.just("again"), st.integers(0, 20)),
    st.tuples(st.just("cancel"), st.integers(0, 5)),
    st.tuples(st.just("collect"), st.integers(0, 5)),
    st.tuples(st.just("wait"), st.sampled_from([timedelta(seconds=30), timedelta(seconds=61), timedelta(days=15)])),
)


@settings(max_examples=25, deadline=None)
@given(steps=st.lists(STEPS, max_size=20))
async def test_any_facts_requests_and_deadlines_in_any_order_keep_the_stock_right_and_end(
    orders: ServiceUnderTest, steps: list[tuple[str, Any]]
):
    shop, ann = await open_shop(orders, STOCK), Person()
    ids: list[str] = []
    told: list[Envelope[Event]] = []
    for step, what in steps:
        if step == "redeem":
            answer = await shop.redeem(ann, what)
            ids += [answer.json()["id"]] if answer.status_code == 202 else []
        elif step == "wait":
            orders.clock.time += what
            await end_overdue(orders.db)
            await orders.inbox.retry_due()
        elif step == "tell" and what[0] < len(ids):
            told += await orders.receive(hold(what[1], ids[what[0]]), sequence=len(told) + 1)
        elif step == "again" and what < len(told):
            await orders.deliver(told[what])
        elif step in {"cancel", "collect"} and what < len(ids):
            seen = await shop.see(ann, ids[what])
            answer = (
                await shop.cancel(ann, ids[what])
                if step == "cancel"
                else await shop.collect(operator(), seen["pickup_code"] or "NONE")
            )
            assert answer.status_code < 500
        assert await shop.taken() <= STOCK

    for _ in range(2):
        orders.clock.advance(days=15)
        await end_overdue(orders.db)
        await orders.inbox.retry_due()
    assert not OPEN & set(await shop.statuses())
    await shop.taken()


@dataclass
class Points:
    """What the points service promises, in little: one account, holds, tombstones, time-outs of unconfirmed holds."""

    free: int
    held: dict[UUID, int] = field(default_factory=dict)
    spent: int = 0
    ended: dict[UUID, str] = field(default_factory=dict)
    confirmed: set[UUID] = field(default_factory=set)
    heard: set[UUID] = field(default_factory=set)

    def hear(self, envelope: Envelope[Any]) -> list[HoldFact]:
        if envelope.id in self.heard:
            return []
        self.heard.add(envelope.id)
        fact, key = envelope.data, envelope.data.redemption_id
        match fact:
            case RedemptionRequested():
                return self._request(key, fact.points)
            case RedemptionConfirmed():
                self.confirmed.add(key)
            case RedemptionCancelled() if key in self.held:
                return [self._release(key, "cancelled")]
            case RedemptionCancelled() if key not in self.ended:
                self.ended[key] = "cancelled before"
            case RedemptionCollected() if self.ended.get(key) != "captured":
                if key not in self.held:
                    self.free -= fact.points
                self.held.pop(key, None)
                self.spent += fact.points
                self.ended[key] = "captured"
                return [hold(HoldCaptured, key)]
        return []

    def _request(self, key: UUID, points: int) -> list[HoldFact]:
        if self.ended.get(key) == "cancelled before":
            self.ended[key] = "refused"
            return [hold(HoldRefused, key, reason="cancelled")]
        if key in self.ended or key in self.held:
            return []
        if self.free < points:
            self.ended[key] = "refused"
            return [hold(HoldRefused, key)]
        self.free -= points
        self.held[key] = points
        return [hold(HoldPlaced, key)]

    def time_out(self) -> list[HoldFact]:
        return [self._release(key, "timed_out") for key in list(self.held) if key not in self.confirmed]

    def _release(self, key: UUID, reason: str) -> HoldFact:
        self.free += self.held.pop(key)
        self.ended[key] = "released"
        return hold(HoldReleased, key, reason=reason)


@dataclass
class Exchange:
    """Carries facts between orders and points: in any order, some twice, none lost."""

    shop: Shop
    points: Points
    chance: Random
    under_way: list[Envelope[Any]] = field(default_factory=list)
    seen: set[UUID] = field(default_factory=set)

    async def take(self, step: str, ann: Person, ids: list[str]) -> None:
        """One step of Ann's, of the time's or of the bus'."""
        orders, shop = self.shop.orders, self.shop
        if step == "redeem":
            answer = await shop.redeem(ann, self.chance.randint(1, 2))
            ids += [answer.json()["id"]] if answer.status_code == 202 else []
        elif step == "cancel" and ids:
            await shop.cancel(ann, self.chance.choice(ids))
        elif step == "collect" and ids:
            code = (await shop.see(ann, self.chance.choice(ids)))["pickup_code"]
            await shop.collect(operator(), code or "NONE")
        elif step == "minute":
            orders.clock.advance(minutes=1)
            await end_overdue(orders.db)
        elif step == "time_out":
            self.send(self.points.time_out())
        elif step == "deliver":
            await self.deliver_one()

    async def collect_post(self) -> None:
        for kind in REDEMPTION_FACTS:
            for envelope in await self.shop.orders.envelopes(kind):
                if envelope.id not in self.seen and envelope.data.reward_id == self.shop.published.reward_id:
                    self.seen.add(envelope.id)
                    self.under_way.append(envelope)

    async def deliver_one(self) -> None:
        if not self.under_way:
            return
        envelope = self.chance.choice(self.under_way)
        if self.chance.random() < 0.7:
            self.under_way.remove(envelope)
        if isinstance(envelope.data, HoldFact):
            await self.shop.orders.deliver(envelope)
        else:
            self.send(self.points.hear(envelope))
        await self.collect_post()

    def send(self, facts: Sequence[HoldFact]) -> None:
        now = self.shop.orders.clock()
        self.under_way += [Envelope(UUID(int=self.chance.getrandbits(128)), fact, 1, now) for fact in facts]


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    steps=st.lists(
        st.sampled_from(["redeem", "cancel", "collect", "deliver", "deliver", "minute", "time_out"]), max_size=40
    ),
)
async def test_with_points_across_an_unruly_bus_no_saga_stays_open_and_no_point_stays_held(
    orders: ServiceUnderTest, seed: int, steps: list[str]
):
    chance = Random(seed)
    shop, ann, points = await open_shop(orders, STOCK), Person(), Points(free=4 * COST)
    exchange, ids = Exchange(shop, points, chance), list[str]()
    for step in steps:
        await exchange.take(step, ann, ids)
        await exchange.collect_post()

    for _ in range(2):
        while exchange.under_way:
            await exchange.deliver_one()
        orders.clock.advance(days=15)
        await end_overdue(orders.db)
        await exchange.collect_post()
        exchange.send(points.time_out())
    while exchange.under_way:
        await exchange.deliver_one()

    assert set(await shop.statuses()) <= {"completed", "refused", "cancelled"}
    assert points.held == {}
    assert points.free + points.spent == 4 * COST
    assert points.spent == COST * await shop.taken()
    async with orders.db.transaction() as session:
        keys = select(parked.c.id).where(parked.c.partition_key.in_(ids))
        assert (await session.scalars(keys)).all() == []
