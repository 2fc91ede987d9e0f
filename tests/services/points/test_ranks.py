"""A rank read from the kept counts is the rank that counting everybody gives, whatever was won and taken back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from alembic import command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import URL, Connection, make_url, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, create_async_engine

from chassis import migrations
from contracts.event import Event
from services.points.app import SERVICE
from services.points.scores import Ranked, forget_empty_counts, rank_of
from tests.harness import Databases, ServiceUnderTest, run_service
from tests.services.points.story import (
    AREA,
    check_in,
    claim,
    released,
    require_nothing_parked,
    review,
    run_points,
    voided,
)

SEASON = 2026
CITY, NORTH, SOUTH = UUID(int=0xC17), UUID(int=0xA0), UUID(int=0x50)
PEOPLE, PLACES = 4, (NORTH, SOUTH)

# Who does what and where, and whether it is taken back.
HAPPENED = st.tuples(
    st.integers(0, PEOPLE - 1), st.sampled_from(PLACES), st.sampled_from(["came", "claimed", "reviewed"]), st.booleans()
)

COUNTED = """
    SELECT own.subject_id, own.score, 1 + (
        SELECT count(*) FROM scores AS other
        WHERE (other.season, other.area_id, other.kind) = (own.season, own.area_id, own.kind)
        AND other.score > own.score
    ) AS rank
    FROM scores AS own WHERE own.area_id = :area AND own.kind = :kind AND own.score > 0
"""


SOME_SCORES = """
    INSERT INTO scores SELECT 2026, :area, kind, gen_random_uuid(), n % 7, now()
    FROM generate_series(1, 58) AS n, unnest(ARRAY['member_points', 'member_energy']) AS kind
"""


@asynccontextmanager
async def connected(url: URL) -> AsyncIterator[AsyncConnection]:
    engine = create_async_engine(url)
    try:
        async with engine.begin() as connection:
            yield connection
    finally:
        await engine.dispose()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def points(databases: Databases) -> AsyncIterator[ServiceUnderTest]:
    async with run_service(SERVICE, databases) as running:
        await running.add_area(CITY)
        for place in PLACES:
            await running.add_area(place, parents=[CITY])
        yield running


async def require_counted_ranks(session: AsyncSession, *areas: UUID) -> int:
    """Every subject's rank is as counted, and those without a score have none; returns how many have one."""
    ranked = 0
    for area in areas:
        for kind in ("member_points", "member_energy"):
            counted = {
                row.subject_id: row for row in await session.execute(text(COUNTED), {"area": area, "kind": kind})
            }
            everybody = await session.scalars(text("SELECT DISTINCT subject_id FROM scores"))
            for subject in everybody.all():
                found = await rank_of(session, SEASON, area, kind, subject)
                row = counted.get(subject)
                assert found == (Ranked(subject, row.rank, row.score) if row else None)
            ranked += len(counted)
    return ranked


def told(person: UUID, area: UUID, what: str) -> tuple[Event, Event | None]:
    """A fact that is worth something, and the one that takes it back, where there is one."""
    if what == "came":
        came = check_in(person, area_id=area)
        return came, voided(came)
    if what == "claimed":
        claimed = claim(person, area_id=area)
        return claimed, released(claimed)
    return review(person, stars=3).model_copy(update={"area_id": area}), None


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(HAPPENED, min_size=1, max_size=6), min_size=1, max_size=4))
async def test_ranks_are_as_counted_after_awards_and_reversals(
    points: ServiceUnderTest, batches: list[list[tuple[int, UUID, str, bool]]]
) -> None:
    people = [uuid4() for _ in range(PEOPLE)]
    taken_back: list[Event] = []
    for batch in batches:
        facts = [(told(people[person], area, what), back) for person, area, what, back in batch]
        # What is taken back comes with the next batch, together with what is won in it.
        await points.receive(*taken_back, *(fact for (fact, _), _ in facts))
        taken_back = [undone for (_, undone), back in facts if back and undone]
        async with points.db.transaction() as session:
            await require_counted_ranks(session, CITY, *PLACES)
    await require_nothing_parked(points)


async def ranks_after_a_race(databases: Databases, *beforehand: str) -> None:
    """Two of three win twice, one of them later; `beforehand` is what the database's owner changes."""
    async with run_points(databases) as points:
        owner = make_url((await databases.template(SERVICE)).migrator)
        async with connected(owner.set(database=make_url(points.db.url).database)) as connection:
            for statement in beforehand:
                await connection.execute(text(statement))
        ann, ben, cem = uuid4(), uuid4(), uuid4()
        await points.receive(*(check_in(person) for person in (ann, ann, ben, cem)))
        await points.receive(check_in(ben))
        async with points.db.transaction() as session:
            assert await require_counted_ranks(session, AREA) == 6


async def test_a_rank_is_one_more_than_have_a_higher_score(databases: Databases) -> None:
    await ranks_after_a_race(databases)


@pytest.mark.parametrize("change", ["insert", "update"])
async def test_control_without_one_of_the_triggers_it_is_not(databases: Databases, change: str) -> None:
    with pytest.raises(AssertionError):
        await ranks_after_a_race(databases, f"DROP TRIGGER count_scores_on_{change} ON scores")


async def test_counts_of_scores_that_nobody_has_are_forgotten_and_ranks_stay(databases: Databases) -> None:
    async with run_points(databases) as points:
        ann, ben = uuid4(), uuid4()
        await points.receive(*(check_in(person) for person in (ann, ann, ben)))
        await points.receive(check_in(ben), check_in(ben))

        async def counts(condition: str) -> int:
            query = text(f"SELECT count(*) FROM score_counts WHERE {condition}")  # noqa: S608 - of ours
            async with points.db.transaction() as session:
                return int(await session.scalar(query) or 0)

        assert await counts("subjects = 0") > 0, "nobody left a score"
        kept = await counts("subjects > 0")
        async with points.db.transaction() as session:
            await forget_empty_counts(session)
        assert (await counts("subjects = 0"), await counts("subjects > 0")) == (0, kept)
        await points.receive(check_in(ann))
        async with points.db.transaction() as session:
            assert await require_counted_ranks(session, AREA) == 4


async def test_scores_of_an_earlier_release_are_counted_when_the_table_comes(databases: Databases) -> None:
    urls = await databases.empty("points")

    def migrate(connection: Connection, revision: str) -> None:
        config = migrations.config_for(connection, SERVICE.metadata, SERVICE.revisions)
        (command.upgrade if revision != "0001" else command.downgrade)(config, revision)

    await migrations.upgrade(urls, SERVICE.metadata, SERVICE.revisions)
    async with connected(make_url(urls.migrator)) as connection:
        await connection.run_sync(migrate, "0001")
        await connection.execute(text(SOME_SCORES), {"area": AREA})
        await connection.run_sync(migrate, "head")
        assert await require_counted_ranks(AsyncSession(connection), AREA) == 100
        await connection.execute(text("DELETE FROM scores WHERE score IN (3, 5)"))
        await connection.execute(text("UPDATE scores SET score = score - 2"))
        left = (await connection.execute(text("SELECT count(*) FROM scores WHERE score > 0"))).scalar_one()
        assert await require_counted_ranks(AsyncSession(connection), AREA) == left > 0
