"""Wherever the machines stand, the same happens: the area's zone decides what people see, and nothing else has one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from services.notify.notices import NOTICES
from services.notify.wording import Wording
from services.orders.app import SERVICE as ORDERS
from services.points import awards, postings
from tests.chassis.parts import must_fail
from tests.harness import Databases, Person, run_service
from tests.services.orders.scenes import as_member, offer_product, registered
from tests.services.points.story import check_in, claim, run_points

ZONES = ("UTC", "Asia/Shanghai", "America/New_York")
# In Shanghai it is midnight, and a new year.
NEW_YEAR = datetime(2027, 12, 31, 16, 0, tzinfo=UTC)
# On 14 March 2027 New York's clocks go from two to three.
SPRING = datetime(2027, 3, 14, 6, 30, tzinfo=UTC)


@contextmanager
def standing_in(zone: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machine's own zone, within the block."""
    with monkeypatch.context() as changed:
        changed.setenv("TZ", zone)
        time.tzset()
        try:
            yield
        finally:
            changed.undo()
            time.tzset()


async def happenings(databases: Databases) -> dict[str, Any]:
    """What depends on the time of day somewhere: seasons, a lease over a leap day, times told in a summer zone."""
    async with run_points(databases) as points:
        for moment in (NEW_YEAR - timedelta(seconds=1), NEW_YEAR):
            points.clock.time = moment
            await points.receive(check_in(Person().id, at=moment))
        async with points.db.transaction() as session:
            seasons = await session.scalars(text("SELECT season FROM transfers ORDER BY id"))
            found: dict[str, Any] = {"seasons": list(seasons)}
    async with run_service(ORDERS, databases) as orders:
        orders.clock.time = datetime(2028, 2, 28, 8, 0, tzinfo=UTC)
        offered = await offer_product(orders, lease_hours=48)
        ann = await registered(orders, offered.area_id)
        answer = await orders.post(f"/products/{offered.product_id}/claims", person=ann, json=as_member(ann))
        found["lease"] = answer.json()["lease_until"]
    words = Wording()
    found["told"] = []
    for lease_until in (SPRING, SPRING + timedelta(hours=1)):
        fact = claim(UUID(int=1), lease_until=lease_until)
        notice = NOTICES[type(fact)]
        told = words.render("en", notice.template, "body", notice.params_of(fact, "America/New_York"))
        found["told"].append([moment for moment in ("14 Mar 01:30", "14 Mar 03:30") if moment in told])
    return found


async def the_same_in_each_zone(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> None:
    for zone in ZONES:
        with standing_in(zone, monkeypatch):
            assert await happenings(databases) == {
                "seasons": [2027, 2027, 2028, 2028],  # points and energy
                "lease": "2028-03-01T08:00:00Z",
                "told": [["14 Mar 01:30"], ["14 Mar 03:30"]],
            }, zone


async def test_three_zones_a_leap_day_and_summer_time_change_nothing(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    await the_same_in_each_zone(databases, monkeypatch)


async def test_control_a_season_by_the_machines_own_zone_is_another(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = postings.Place
    by_the_machine = lambda areas, _season: original(areas, time.localtime(NEW_YEAR.timestamp()).tm_year)  # noqa: E731
    monkeypatch.setattr(awards, "Place", by_the_machine)
    await must_fail(the_same_in_each_zone, databases, monkeypatch)
