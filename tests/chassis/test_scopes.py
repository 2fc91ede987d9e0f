"""A role holds in its area's subtree, without an area everywhere, and for an organisation in no area."""

from __future__ import annotations

from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest

from chassis.errors import Forbidden, NotArrived
from chassis.scopes import Area, areas_of, covers, path_of, require, timezone_of
from chassis.tokens import Grant, Principal
from tests.chassis.toy import SERVICE
from tests.harness import Clock, Databases, ServiceUnderTest, run_service

CITY, STREET, COMMUNITY, GRID, SIBLING, ELSEWHERE = (uuid4() for _ in range(6))


def holder(*grants: Grant) -> Principal:
    return Principal(uuid4(), uuid4(), grants, Clock()(), Clock()())


async def tree(toy: ServiceUnderTest) -> None:
    await toy.add_area(CITY)
    await toy.add_area(STREET, [CITY])
    await toy.add_area(COMMUNITY, [CITY, STREET])
    await toy.add_area(GRID, [CITY, STREET, COMMUNITY])
    await toy.add_area(SIBLING, [CITY, STREET])
    await toy.add_area(ELSEWHERE)


async def test_where_a_role_holds(databases: Databases) -> None:
    async with run_service(SERVICE, databases) as toy:
        await tree(toy)

        async def where(*grants: Grant) -> set[UUID]:
            async with toy.db.transaction() as session:
                everywhere = [CITY, STREET, COMMUNITY, GRID, SIBLING, ELSEWHERE]
                asked = [(area, await covers(session, holder(*grants), area, "coordinator")) for area in everywhere]
                return {area for area, covered in asked if covered}

        assert await where(Grant(role="coordinator", area_id=COMMUNITY)) == {COMMUNITY, GRID}
        assert await where(Grant(role="coordinator", area_id=STREET)) == {STREET, COMMUNITY, GRID, SIBLING}
        assert await where(Grant(role="coordinator", area_id=GRID)) == {GRID}
        assert len(await where(Grant(role="coordinator"))) == 6
        assert await where(Grant(role="coordinator", organisation_id=uuid4())) == set()
        assert await where(Grant(role="coordinator", organisation_id=uuid4(), area_id=CITY)) == set()
        assert await where(Grant(role="merchant", area_id=CITY)) == set()
        assert await where() == set()
        both = Grant(role="coordinator", area_id=GRID), Grant(role="coordinator", area_id=ELSEWHERE)
        assert await where(*both) == {GRID, ELSEWHERE}


async def test_require_refuses_whom_no_role_covers(databases: Databases) -> None:
    async with run_service(SERVICE, databases) as toy:
        await tree(toy)
        async with toy.db.transaction() as session:
            here = holder(Grant(role="coordinator", area_id=COMMUNITY))
            await require(session, here, GRID, "coordinator", "operator")
            await require(session, holder(Grant(role="operator")), GRID, "coordinator", "operator")
            for principal, area in ((here, SIBLING), (here, STREET), (holder(), GRID)):
                with pytest.raises(Forbidden):
                    await require(session, principal, area, "coordinator", "operator")
            with pytest.raises(NotArrived):
                await require(session, here, uuid4(), "coordinator")


async def test_an_area_that_moves_takes_its_roles_along(databases: Databases) -> None:
    async with run_service(SERVICE, databases) as toy:
        await tree(toy)
        async with toy.db.transaction() as session:
            assert list(await path_of(session, GRID)) == [CITY, STREET, COMMUNITY, GRID]
            assert await timezone_of(session, GRID) == ZoneInfo("Asia/Shanghai")
            with pytest.raises(NotArrived):
                await timezone_of(session, uuid4())


async def test_several_areas_are_looked_up_at_once_or_not_at_all(databases: Databases) -> None:
    async with run_service(SERVICE, databases) as toy:
        await tree(toy)
        async with toy.db.transaction() as session:
            zone = ZoneInfo("Asia/Shanghai")
            found = await areas_of(session, {GRID, CITY})
            assert found == {GRID: Area((CITY, STREET, COMMUNITY, GRID), zone), CITY: Area((CITY,), zone)}
            assert await areas_of(session, set()) == {}
            with pytest.raises(NotArrived):
                await areas_of(session, {GRID, uuid4()})
