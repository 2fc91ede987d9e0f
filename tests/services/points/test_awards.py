"""Participations, claims, completions and reviews become points and positive energy by the rules."""

from __future__ import annotations

from itertools import permutations
from uuid import uuid4

import pytest
from sqlalchemy import text

from contracts.event import Envelope, Event
from contracts.orders import RedemptionCollected, RedemptionRequested
from contracts.points import PointsAwarded
from tests.harness import Databases, Person, ServiceUnderTest, operator
from tests.services.points.story import (
    account,
    check_in,
    claim,
    completed,
    give_points,
    redemption,
    released,
    require_nothing_parked,
    require_sound_ledger,
    review,
    run_points,
    voided,
)


async def energy_of(points: ServiceUnderTest, person: Person) -> int:
    return int((await account(points, person))["positive_energy"])


async def test_25_participations_are_250_points_each_explained(databases: Databases) -> None:
    star = Person()
    async with run_points(databases) as points:
        facts = [check_in(star.id) for _ in range(25)]
        envelopes = await points.receive(*facts)
        mine = await account(points, star)
        assert (mine["balance"], mine["held"], mine["debt"], mine["positive_energy"]) == (250, 0, 0, 250)
        entries = [entry for entry in mine["entries"] if entry["asset"] == "points"]
        assert sorted(entry["reason"]["event_id"] for entry in entries) == sorted(str(e.id) for e in envelopes)
        for entry in entries:
            assert (entry["amount"], entry["kind"], entry["title"]) == (10, "award", "四点半儿童乐园")
            assert entry["reason"]["event_type"] == "linli.orders.attendance_recorded.v1"
            assert (entry["reason"]["rule"], entry["reason"]["rule_version"]) == ("participation", 1)
            assert entry["reason"]["arithmetic"] == "10 × 1 = 10"
            assert "首次签到" in entry["reason"]["text"]
        english = await account(points, star, headers={"Accept-Language": "en"})
        assert "first check-in" in english["entries"][0]["reason"]["text"]
        assert await require_sound_ledger(points) == 50


async def test_a_product_counts_once_per_person(databases: Databases) -> None:
    ann, bob, product = Person(), Person(), uuid4()
    async with run_points(databases) as points:
        await points.receive(check_in(ann.id, product), check_in(ann.id, product), check_in(bob.id, product))
        await points.receive(check_in(ann.id, product))
        assert (await account(points, ann))["balance"] == 10
        assert (await account(points, bob))["balance"] == 10


async def test_a_check_out_alone_earns_nothing(databases: Databases) -> None:
    ann = Person()
    async with run_points(databases) as points:
        await points.receive(check_in(ann.id, action="check_out", minutes=60))
        assert (await account(points, ann))["entries"] == []


async def test_a_voided_attendance_is_reversed_by_a_new_transfer(databases: Databases) -> None:
    ann = Person()
    async with run_points(databases) as points:
        came = check_in(ann.id)
        await points.receive(came)
        await points.receive(voided(came), sequence=2)
        mine = await account(points, ann)
        assert (mine["balance"], mine["positive_energy"]) == (0, 0)
        assert sorted((e["kind"], e["amount"]) for e in mine["entries"] if e["asset"] == "points") == [
            ("award", 10),
            ("reversal", -10),
        ]
        reversal = next(entry for entry in mine["entries"] if entry["kind"] == "reversal")
        assert reversal["reason"]["event_type"] == "linli.orders.attendance_voided.v1"
        assert reversal["reason"]["arithmetic"] == "-1 × 10 = -10"
        amounts = [fact.amount for fact in await points.emitted(PointsAwarded) if fact.asset == "points"]
        assert amounts == [10, -10]
        await require_sound_ledger(points)


async def test_a_later_check_in_after_a_void_earns_again(databases: Databases) -> None:
    ann, product = Person(), uuid4()
    async with run_points(databases) as points:
        came = check_in(ann.id, product)
        await points.receive(came)
        await points.receive(voided(came))
        await points.receive(check_in(ann.id, product))
        assert (await account(points, ann))["balance"] == 10


async def test_void_and_check_ins_give_the_same_points_in_any_order(databases: Databases) -> None:
    async with run_points(databases) as points:
        for order in permutations(range(4)):
            ann, product = Person(), uuid4()
            first, second = check_in(ann.id, product), check_in(ann.id, product)
            facts: list[Event] = [first, voided(first), second, voided(check_in(ann.id, product))]
            for index in order:
                await points.receive(facts[index])
            assert (await account(points, ann))["balance"] == 10, order
        await require_sound_ledger(points)
        await require_nothing_parked(points)


async def test_what_was_spent_before_a_reversal_is_owed_and_paid_from_the_next_points(databases: Databases) -> None:
    ann = Person()
    async with run_points(databases) as points:
        came = check_in(ann.id)
        await points.receive(came)
        await give_points(points, ann)
        await spend(points, ann, 16)
        await points.receive(voided(came))
        mine = await account(points, ann)
        assert (mine["balance"], mine["debt"]) == (0, 6)
        await give_points(points, ann)
        mine = await account(points, ann)
        assert (mine["balance"], mine["debt"]) == (4, 0)
        settled = next(entry for entry in mine["entries"] if entry["kind"] == "settlement")
        assert (settled["amount"], settled["debt"], settled["reason"]["rule"]) == (-6, -6, None)
        for shown, field in (("balance", "amount"), ("held", "held"), ("debt", "debt")):
            assert mine[shown] == sum(entry[field] for entry in mine["entries"] if entry["asset"] == "points")
        await require_sound_ledger(points)


async def spend(points: ServiceUnderTest, person: Person, amount: int) -> None:
    redemption_id = uuid4()
    await points.receive(redemption(RedemptionRequested, person.id, redemption_id, amount))
    await points.receive(redemption(RedemptionCollected, person.id, redemption_id, amount))


async def test_claims_completions_and_reviews_move_energy_only(databases: Databases) -> None:
    ann = Person()
    async with run_points(databases) as points:
        mine = claim(ann.id)
        await points.receive(mine)
        assert await energy_of(points, ann) == 5
        await points.receive(completed(mine))
        assert await energy_of(points, ann) == 15
        await points.receive(review(ann.id, stars=4), review(None, stars=5))
        shown = await account(points, ann)
        assert (shown["balance"], shown["positive_energy"]) == (0, 23)
        assert shown["entries"][0]["reason"]["arithmetic"] == "2 × 4 = 8"
        assert {entry["asset"] for entry in shown["entries"]} == {"energy"}


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (0, 1, 0, 1), (1, 0, 1)])
async def test_a_claim_that_is_released_is_worth_nothing_in_any_order(
    databases: Databases, order: tuple[int, ...]
) -> None:
    ann = Person()
    async with run_points(databases) as points:
        kept, given_back = claim(ann.id), claim(ann.id)
        await points.receive(kept)
        for index in order:
            await points.receive((given_back, released(given_back))[index])
        assert await energy_of(points, ann) == 5
        board = await points.get(f"/leaderboards?area_id={kept.area_id}&kind=member_energy")
        assert [item["score"] for item in board.json()["items"]] == [5]
        await require_sound_ledger(points)


async def test_an_organisations_claim_is_the_organisations_energy(databases: Databases) -> None:
    station = uuid4()
    async with run_points(databases) as points:
        await points.receive(claim(station, "organisation"))
        [told] = await points.emitted(PointsAwarded)
        assert (told.subject_type, told.subject_id, told.asset, told.amount) == ("organisation", station, "energy", 5)


async def test_a_deed_in_an_area_not_heard_of_yet_waits_for_it(databases: Databases) -> None:
    ann, area_id = Person(), uuid4()
    async with run_points(databases) as points:
        await points.receive(check_in(ann.id, area_id=area_id), check_in(ann.id))
        assert (await account(points, ann))["balance"] == 10
        await points.add_area(area_id)
        points.clock.advance(seconds=2)
        await points.inbox.retry_due()
        assert (await account(points, ann))["balance"] == 20


async def test_the_ledgers_own_key_stops_a_second_award_that_the_inbox_let_through(databases: Databases) -> None:
    ann = Person()
    async with run_points(databases) as points:
        claimed = claim(ann.id)
        await points.receive(claimed)
        await points.receive(claimed)  # the same fact in a new envelope: the inbox cannot know it
        assert await energy_of(points, ann) == 5
        assert len(await points.emitted(PointsAwarded)) == 1


async def test_a_new_version_of_a_rule_holds_from_its_day_on(databases: Databases) -> None:
    ann = Person()
    async with run_points(databases) as points:
        async with points.db.transaction() as session:
            await session.execute(
                text(
                    "INSERT INTO rules SELECT key, 2, event_type, asset, conditions, '{\"base\": 7}', text, text_en,"
                    " '2026-03-03T00:00:00Z' FROM rules WHERE key = 'claim'"
                )
            )
        await points.receive(claim(ann.id))
        points.clock.advance(days=1)
        await points.receive(claim(ann.id))
        shown = (await account(points, ann))["entries"]
        assert [(e["amount"], e["reason"]["rule_version"]) for e in shown] == [(7, 2), (5, 1)]
        rules = (await points.get("/points/rules")).json()
        assert {rule["key"]: rule["version"] for rule in rules}["claim"] == 2


async def test_rules_are_public_in_both_languages(databases: Databases) -> None:
    async with run_points(databases) as points:
        rules = (await points.get("/points/rules")).json()
        assert {rule["key"] for rule in rules} == {
            "claim",
            "completion",
            "participation",
            "participation_energy",
            "review_score",
        }
        assert all("来源" in rule["text"] for rule in rules)
        english = (await points.get("/points/rules", headers={"Accept-Language": "en"})).json()
        assert all("product decision" in rule["text"] for rule in english)


async def test_entries_come_in_pages_and_by_asset(databases: Databases) -> None:
    ann = Person()
    async with run_points(databases) as points:
        await give_points(points, ann, 7)
        seen, cursors = [], [""]
        for _ in range(3):
            shown = (await points.get(f"/me/points?asset=points&limit=3{cursors[-1]}", person=ann)).json()
            seen += [entry["id"] for entry in shown["entries"]]
            cursors.append(f"&cursor={shown['next_cursor']}")
        assert cursors[-1] == "&cursor=None"
        assert len(seen) == len(set(seen)) == 7
        assert seen == sorted(seen, reverse=True)


@pytest.mark.parametrize("query", ["cursor=WzFd", "cursor=x", "asset=gold", "limit=0", "cursor=WyJ4Il0="])
async def test_a_bad_query_is_named(databases: Databases, query: str) -> None:
    async with run_points(databases) as points:
        assert (await points.get(f"/me/points?{query}", person=Person())).status_code == 422


async def test_points_are_ones_own_and_the_check_is_the_operators(databases: Databases) -> None:
    ann = Person()
    async with run_points(databases) as points:
        await give_points(points, ann)
        assert (await account(points, Person()))["entries"] == []
        assert (await points.get("/me/points")).status_code == 401
        assert (await points.get("/points/ledger/check", person=ann)).status_code == 403
        assert (await points.get("/points/ledger/check")).status_code == 401
        assert (await points.get("/points/ledger/check", person=operator())).status_code == 200


async def test_a_whole_batch_with_duplicates_has_each_effect_once(databases: Databases) -> None:
    ann = Person()
    async with run_points(databases) as points:
        envelopes = [Envelope(uuid4(), check_in(ann.id), 1, points.clock()) for _ in range(200)]
        await points.deliver(*envelopes, *envelopes)
        await points.deliver(*reversed(envelopes))
        assert (await account(points, ann))["balance"] == 2000
        await require_sound_ledger(points)
