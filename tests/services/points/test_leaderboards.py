"""Leaderboards: who earned most in a season, in an area and all below it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from contracts.orders import RedemptionCollected, RedemptionRequested
from tests.harness import Databases, Person, ServiceUnderTest
from tests.services.points.story import AREA, check_in, claim, give_points, redemption, run_points, voided


async def board(points: ServiceUnderTest, query: str = "", person: Person | None = None) -> dict[str, Any]:
    answer = await points.get(f"/leaderboards?area_id={AREA}{query}", person=person)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def places(shown: dict[str, Any]) -> list[tuple[int, UUID, int]]:
    return [(item["rank"], UUID(item["subject_id"]), item["score"]) for item in shown["items"]]


async def test_equals_share_a_rank_and_who_was_first_stands_first(databases: Databases) -> None:
    best, early, late, last = Person(), Person(), Person(), Person()
    async with run_points(databases) as points:
        for person, times in ((early, 2), (late, 2), (last, 1), (best, 3)):
            await give_points(points, person, times)
            points.clock.advance(seconds=1)
        shown = await board(points, person=late)
        assert places(shown) == [(1, best.id, 30), (2, early.id, 20), (2, late.id, 20), (4, last.id, 10)]
        assert shown["me"] == {"rank": 2, "score": 20}
        assert (shown["season"], shown["kind"], shown["names"]) == (2026, "member_points", {})
        assert places(await board(points, "&limit=2")) == [(1, best.id, 30), (2, early.id, 20)]
        assert (await board(points))["me"] is None
        assert (await board(points, person=Person()))["me"] is None


async def test_a_score_counts_in_every_area_on_the_path(databases: Databases) -> None:
    ann, court = Person(), uuid4()
    async with run_points(databases) as points:
        await points.add_area(court, parents=[AREA])
        await points.receive(check_in(ann.id, area_id=court))
        await give_points(points, ann)
        assert places(await board(points)) == [(1, ann.id, 20)]
        below = (await points.get(f"/leaderboards?area_id={court}")).json()
        assert places(below) == [(1, ann.id, 10)]


async def test_a_reversal_lowers_the_score_and_spending_does_not(databases: Databases) -> None:
    ann, bob, wish = Person(), Person(), uuid4()
    async with run_points(databases) as points:
        came = check_in(bob.id)
        await points.receive(came)
        await give_points(points, ann, 2)
        await points.receive(redemption(RedemptionRequested, ann.id, wish, 20))
        await points.receive(redemption(RedemptionCollected, ann.id, wish, 20))
        await points.receive(voided(came))
        assert places(await board(points)) == [(1, ann.id, 20)]


async def test_the_season_is_the_year_in_the_areas_own_time(databases: Databases) -> None:
    ann, bob = Person(), Person()
    async with run_points(databases) as points:
        points.clock.time = datetime(2026, 12, 31, 15, 59, tzinfo=UTC)
        came = check_in(ann.id)
        await points.receive(came)
        points.clock.time = datetime(2026, 12, 31, 16, 1, tzinfo=UTC)
        await points.receive(check_in(bob.id))
        assert (await board(points))["season"] == 2027
        assert places(await board(points)) == [(1, bob.id, 10)]
        assert places(await board(points, "&season=2026")) == [(1, ann.id, 10)]
        await points.receive(voided(came))  # told in 2027, taken back where it was given
        assert places(await board(points, "&season=2026")) == []
        assert places(await board(points)) == [(1, bob.id, 10)]


async def test_energy_has_boards_of_members_and_of_organisations(databases: Databases) -> None:
    ann, station = Person(), uuid4()
    async with run_points(databases) as points:
        await points.receive(claim(ann.id), claim(station, "organisation"), claim(station, "organisation"))
        assert places(await board(points, "&kind=member_energy")) == [(1, ann.id, 5)]
        shown = await board(points, "&kind=organisation_energy", person=ann)
        assert places(shown) == [(1, station, 10)]
        assert shown["items"][0]["subject_type"] == "organisation"
        assert shown["me"] is None
        assert places(await board(points)) == []


async def test_an_unknown_area_is_not_found_and_bad_queries_are_named(databases: Databases) -> None:
    async with run_points(databases) as points:
        assert (await points.get(f"/leaderboards?area_id={uuid4()}")).status_code == 404
        assert (await points.get(f"/leaderboards?area_id={uuid4()}&season=2025")).status_code == 404
        for query in ("season=1999", "season=99999999999999", "kind=best", "limit=101", "area_id=x"):
            assert (await points.get(f"/leaderboards?area_id={AREA}&{query}")).status_code == 422
        assert (await points.get("/leaderboards")).status_code == 422
