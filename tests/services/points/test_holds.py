"""A redemption's points: held, then captured or released, whatever order its facts arrive in."""

from __future__ import annotations

from itertools import permutations
from uuid import UUID, uuid4

import pytest

from contracts.event import Event
from contracts.orders import (
    RedemptionCancelled,
    RedemptionCollected,
    RedemptionConfirmed,
    RedemptionFact,
    RedemptionRequested,
)
from contracts.points import HoldCaptured, HoldFact, HoldPlaced, HoldRefused, HoldReleased
from services.points.holds import release_expired
from tests.harness import Databases, Person, ServiceUnderTest
from tests.services.points.story import (
    account,
    check_in,
    give_points,
    redemption,
    require_nothing_parked,
    require_sound_ledger,
    run_points,
    voided,
)

REQUESTED, CONFIRMED, CANCELLED, COLLECTED = (
    RedemptionRequested,
    RedemptionConfirmed,
    RedemptionCancelled,
    RedemptionCollected,
)


async def free_and_held(points: ServiceUnderTest, person: Person) -> tuple[int, int]:
    mine = await account(points, person)
    assert mine["debt"] == 0
    return mine["balance"], mine["held"]


async def told(points: ServiceUnderTest, redemption_id: UUID) -> list[HoldFact]:
    """What was told of a redemption's hold, by sequence."""
    kinds: tuple[type[HoldFact], ...] = (HoldPlaced, HoldRefused, HoldCaptured, HoldReleased)
    found = [e for kind in kinds for e in await points.envelopes(kind) if e.data.redemption_id == redemption_id]
    assert sorted(e.sequence for e in found) == list(range(1, len(found) + 1))
    return [e.data for e in sorted(found, key=lambda e: e.sequence)]


async def test_points_are_held_then_captured(databases: Databases) -> None:
    ann, wish = Person(), uuid4()
    async with run_points(databases) as points:
        await give_points(points, ann, 3)
        await points.receive(redemption(REQUESTED, ann.id, wish, 20))
        assert await free_and_held(points, ann) == (10, 20)
        await points.receive(redemption(CONFIRMED, ann.id, wish, 20))
        await points.receive(redemption(COLLECTED, ann.id, wish, 20))
        assert await free_and_held(points, ann) == (10, 0)
        assert [type(fact) for fact in await told(points, wish)] == [HoldPlaced, HoldCaptured]
        entries = (await account(points, ann, headers={"Accept-Language": "en"}))["entries"]
        capture, hold = entries[:2]
        assert (capture["kind"], capture["amount"], capture["held"]) == ("capture", 0, -20)
        assert (hold["kind"], hold["amount"], hold["held"], hold["title"]) == ("hold", -20, 20, "洗衣液")
        assert hold["reason"]["rule"] is None
        assert hold["reason"]["text"] == "20 points set aside for a redemption"
        await require_sound_ledger(points)


async def test_too_few_points_are_refused(databases: Databases) -> None:
    ann, wish = Person(), uuid4()
    async with run_points(databases) as points:
        await give_points(points, ann)
        await points.receive(redemption(REQUESTED, ann.id, wish, 11))
        [refused] = await told(points, wish)
        assert isinstance(refused, HoldRefused)
        assert refused.reason == "insufficient_points"
        await points.receive(redemption(CANCELLED, ann.id, wish, 11))
        assert await free_and_held(points, ann) == (10, 0)


async def test_held_points_cannot_be_held_again(databases: Databases) -> None:
    ann, wishes = Person(), [uuid4(), uuid4()]
    async with run_points(databases) as points:
        await give_points(points, ann)
        await points.receive(*(redemption(REQUESTED, ann.id, wish) for wish in wishes))
        outcomes = [type(fact) for wish in wishes for fact in await told(points, wish)]
        assert outcomes == [HoldPlaced, HoldRefused]
        assert await free_and_held(points, ann) == (0, 10)


@pytest.mark.parametrize(
    ("kinds", "left"),
    [
        ((REQUESTED, CONFIRMED, COLLECTED), 0),
        ((REQUESTED, COLLECTED), 0),
        ((REQUESTED, CANCELLED), 10),
        ((REQUESTED, CONFIRMED, CANCELLED), 10),
        ((CANCELLED,), 10),
        ((REQUESTED, CONFIRMED, CANCELLED, COLLECTED), 0),
    ],
)
async def test_a_saga_ends_alike_in_every_order_and_with_duplicates(
    databases: Databases, kinds: tuple[type[RedemptionFact], ...], left: int
) -> None:
    async with run_points(databases) as points:
        for order in permutations(kinds):
            ann, wish = Person(), uuid4()
            await give_points(points, ann)
            for kind in order:
                fact: Event = redemption(kind, ann.id, wish)
                await points.deliver(*await points.receive(fact))
                await points.receive(fact)
            assert await free_and_held(points, ann) == (left, 0), [kind.__name__ for kind in order]
            facts = await told(points, wish)
            assert len(facts) == len({type(fact) for fact in facts})
        await require_nothing_parked(points)
        await require_sound_ledger(points)


async def test_a_cancel_before_its_request_refuses_it(databases: Databases) -> None:
    ann, wish = Person(), uuid4()
    async with run_points(databases) as points:
        await give_points(points, ann)
        await points.receive(redemption(CANCELLED, ann.id, wish))
        assert await told(points, wish) == []
        await points.receive(redemption(REQUESTED, ann.id, wish))
        [refused] = await told(points, wish)
        assert isinstance(refused, HoldRefused)
        assert refused.reason == "cancelled"


async def test_an_unconfirmed_hold_times_out(databases: Databases) -> None:
    ann, wish = Person(), uuid4()
    async with run_points(databases) as points:
        await give_points(points, ann)
        await points.receive(redemption(REQUESTED, ann.id, wish))
        points.clock.advance(minutes=9, seconds=59)
        await release_expired(points.db)
        assert await free_and_held(points, ann) == (0, 10)
        points.clock.advance(seconds=1)
        await release_expired(points.db)
        await release_expired(points.db)
        assert await free_and_held(points, ann) == (10, 0)
        released = (await told(points, wish))[-1]
        assert isinstance(released, HoldReleased)
        assert released.reason == "timed_out"
        entry = (await account(points, ann))["entries"][0]
        assert (entry["kind"], entry["reason"]["event_id"]) == ("release", None)
        assert "未在规定时间内确认" in entry["reason"]["text"]


@pytest.mark.parametrize("order", [(REQUESTED, CONFIRMED), (CONFIRMED, REQUESTED)])
async def test_a_confirmed_hold_never_times_out(databases: Databases, order: tuple[type[RedemptionFact], ...]) -> None:
    ann, wish = Person(), uuid4()
    async with run_points(databases) as points:
        await give_points(points, ann)
        for kind in order:
            await points.receive(redemption(kind, ann.id, wish))
        points.clock.advance(days=400)
        await release_expired(points.db)
        assert await free_and_held(points, ann) == (0, 10)


async def test_a_reward_collected_after_the_time_out_is_paid_or_owed(databases: Databases) -> None:
    ann, first, second = Person(), uuid4(), uuid4()
    async with run_points(databases) as points:
        await give_points(points, ann)
        await points.receive(redemption(REQUESTED, ann.id, first))
        points.clock.advance(minutes=11)
        await release_expired(points.db)
        await points.receive(redemption(REQUESTED, ann.id, second, 6))
        await points.receive(redemption(COLLECTED, ann.id, first))
        mine = await account(points, ann)
        assert (mine["balance"], mine["held"], mine["debt"]) == (0, 6, 6)
        await points.receive(redemption(CANCELLED, ann.id, second, 6))
        mine = await account(points, ann)
        assert (mine["balance"], mine["held"], mine["debt"]) == (0, 0, 0)
        assert mine["entries"][0]["kind"] == "settlement"
        await require_sound_ledger(points)


async def test_a_reversal_leaves_what_is_held_alone(databases: Databases) -> None:
    ann, wish = Person(), uuid4()
    async with run_points(databases) as points:
        came = check_in(ann.id)
        await points.receive(came)
        await points.receive(redemption(REQUESTED, ann.id, wish))
        await points.receive(voided(came))
        mine = await account(points, ann)
        assert (mine["balance"], mine["held"], mine["debt"]) == (0, 10, 10)
        await points.receive(redemption(CANCELLED, ann.id, wish))
        assert await free_and_held(points, ann) == (0, 0)


async def test_a_reward_that_costs_nothing_is_held_and_captured_too(databases: Databases) -> None:
    ann, wish = Person(), uuid4()
    async with run_points(databases) as points:
        await points.receive(redemption(REQUESTED, ann.id, wish, 0))
        await points.receive(redemption(COLLECTED, ann.id, wish, 0))
        assert [type(fact) for fact in await told(points, wish)] == [HoldPlaced, HoldCaptured]
        assert await require_sound_ledger(points) == 0
