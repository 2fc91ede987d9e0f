"""A copied row ends at the highest version, in whatever order and however often the versions come."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.inbox import Inbox, by_sequence
from chassis.scopes import copy_areas
from chassis.tables import parked, scopes
from contracts.event import Envelope
from contracts.members import AreaChanged
from tests.chassis.parts import count_of, documents, must_fail, setting
from tests.harness import Clock, Databases

THINGS, VERSIONS = 100, 20


def area(area_id: UUID, version: int) -> Envelope[AreaChanged]:
    fact = AreaChanged(
        area_id=area_id,
        parent_id=None,
        path=[area_id],
        level="community",
        name="玉林",
        name_en=None,
        timezone=f"Etc/GMT-{version % 12}",
        active=True,
    )
    return Envelope(uuid4(), fact, version, Clock()())


async def take_over_the_last(session: AsyncSession, envelopes: Sequence[Envelope[AreaChanged]]) -> None:
    """A control's handler: whatever came last."""
    for envelope in sorted(envelopes, key=lambda one: one.partitionkey):
        values = {"path": envelope.data.path, "timezone": envelope.data.timezone, "sequence": envelope.sequence}
        statement = insert(scopes).values(id=envelope.data.area_id, **values)
        await session.execute(statement.on_conflict_do_update(index_elements=["id"], set_=values))


Handle = Callable[[AsyncSession, Sequence[Envelope[Any]]], Awaitable[None]]


async def copy_in_disorder(databases: Databases, handle: Handle = copy_areas) -> None:
    rng = random.Random(20)
    async with setting(databases) as stage:
        first = await stage.database()
        copies = [Inbox(first, {AreaChanged: handle}), Inbox(await stage.database(first.url), {AreaChanged: handle})]
        ids = [uuid4() for _ in range(THINGS)]
        letters = documents(*(area(one, version) for one in ids for version in range(1, VERSIONS + 1)))
        letters += rng.sample(letters, len(letters) // 2)
        rng.shuffle(letters)

        async def consume(copy: Inbox, mine: list[str]) -> None:
            while mine:
                size = rng.randint(1, 60)
                await copy.receive(mine[:size])
                del mine[:size]

        await asyncio.gather(*(consume(copies[n % 2], letters[n::4]) for n in range(4)))
        assert await count_of(first, parked) == 0
        async with first.transaction() as session:
            kept = {row.id: row for row in await session.execute(select(scopes))}
        assert set(kept) == set(ids)
        assert {row.sequence for row in kept.values()} == {VERSIONS}
        assert {row.timezone for row in kept.values()} == {f"Etc/GMT-{VERSIONS % 12}"}


async def test_100_things_in_20_versions_shuffled_and_doubled_end_at_the_highest(databases: Databases) -> None:
    await copy_in_disorder(databases)


async def test_control_a_copy_that_takes_whatever_comes_ends_elsewhere(databases: Databases) -> None:
    await must_fail(copy_in_disorder, databases, take_over_the_last)


def test_by_sequence_gives_the_highest_version_of_each_thing_once() -> None:
    ann, ben = uuid4(), uuid4()
    envelopes = [area(ann, 2), area(ben, 1), area(ann, 3), area(ann, 1)]
    assert {(one.data.area_id, one.sequence) for one in by_sequence(envelopes)} == {(ann, 3), (ben, 1)}
