"""Points: awards are posted, and balances, boards and ranks read, by index."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from services.points.app import SERVICE
from tests.harness import Databases, Person, ServiceUnderTest
from tests.plans.crowd import make_crowd
from tests.plans.plans import captured, require_indexes
from tests.services.points.story import AREA, check_in, claim, released, run_points

ANN = Person()


@pytest.fixture(scope="module")
async def points(databases: Databases, server_url: str) -> AsyncIterator[ServiceUnderTest]:
    async with run_points(databases) as running:
        await running.receive(check_in(Person().id), claim(Person().id), released(claim(Person().id)))
        await make_crowd(running, SERVICE, server_url)
        await running.receive(check_in(ANN.id))
        yield running


async def test_awards(points: ServiceUnderTest) -> None:
    async with captured(points.db) as plans:
        await points.receive(check_in(ANN.id), claim(ANN.id))
    require_indexes(plans, "pk_accounts", "ix_attendances_person_id_product_id")


async def test_what_somebody_has_and_why(points: ServiceUnderTest) -> None:
    async with captured(points.db) as plans:
        assert (await points.get("/me/points", person=ANN)).json()["balance"]
    require_indexes(plans, "ix_transfers_subject", "uq_accounts_owner_type_owner_id_asset_purpose", "pk_entries")


async def test_a_board(points: ServiceUnderTest) -> None:
    async with captured(points.db) as plans:
        board = (await points.get(f"/leaderboards?area_id={AREA}", person=ANN)).json()
        assert board["items"]
        assert board["me"]
    require_indexes(plans, "ix_scores_board", "pk_scores")
