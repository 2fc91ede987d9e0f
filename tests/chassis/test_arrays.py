"""Rows handed over as arrays arrive as they were, however many."""

from __future__ import annotations

from uuid import uuid4

import pytest
from sqlalchemy import select

from chassis.arrays import array_literal, arrays, insert_arrays
from chassis.tables import outbox, scopes
from tests.chassis.parts import setting
from tests.harness import Databases

SCOPE = ("id", "path", "timezone", "sequence")
FACT = ("event_id", "routing_key", "document", "next_at")
# More values than a statement may have parameters (32,767).
MANY = 10_000


async def test_each_row_arrives_as_it_was(databases: Databases) -> None:
    text = '{"it\'s": "a \\\\ \'quote\', 党务"}'
    async with setting(databases) as stage:
        db = await stage.database()
        rows = [(uuid4(), "a.b.v1", text, stage.clock()), (uuid4(), "", "NULL", stage.clock())]
        async with db.transaction() as session:
            await session.execute(insert_arrays(outbox, FACT), arrays(FACT, rows))
            columns = [outbox.c[name] for name in FACT]
            assert [tuple(row) for row in await session.execute(select(*columns).order_by(outbox.c.id))] == rows


@pytest.mark.parametrize(
    "causes", [(None,), (None, None), (None, "a"), ("a", None, "a"), ("a", "a"), ("a", "b", "a")], ids=str
)
async def test_what_rows_share_and_what_is_null_arrives_as_it_was(
    databases: Databases, causes: tuple[str | None, ...]
) -> None:
    columns = (*FACT, "cause")
    async with setting(databases) as stage:
        db, one = await stage.database(), uuid4()
        async with db.transaction() as session:
            rows = [(one, "a.b.v1", "{}", stage.clock(), cause) for cause in causes]
            await session.execute(insert_arrays(outbox, columns), arrays(columns, rows))
            assert tuple(await session.scalars(select(outbox.c.cause).order_by(outbox.c.id))) == causes


async def test_a_column_of_arrays_takes_array_literals(databases: Databases) -> None:
    paths = [(uuid4(),), (uuid4(), uuid4()), ()]
    async with setting(databases) as stage:
        db = await stage.database()
        async with db.transaction() as session:
            rows = [(uuid4(), array_literal(path), "Asia/Shanghai", n) for n, path in enumerate(paths)]
            await session.execute(insert_arrays(scopes, SCOPE), arrays(SCOPE, rows))
            found = (await session.scalars(select(scopes.c.path).order_by(scopes.c.sequence))).all()
            assert [tuple(path) for path in found] == paths


async def test_a_conflict_is_met_row_by_row(databases: Databases) -> None:
    async with setting(databases) as stage:
        db = await stage.database()
        known, new = uuid4(), uuid4()
        statement = insert_arrays(scopes, SCOPE).on_conflict_do_nothing().returning(scopes.c.id)
        async with db.transaction() as session:
            for ids, added in (([known], {known}), ([known, new, new], {new})):
                rows = [(one, "{}", "UTC", 1) for one in ids]
                assert set((await session.scalars(statement, arrays(SCOPE, rows))).all()) == added


async def test_there_may_be_more_values_than_parameters(databases: Databases) -> None:
    async with setting(databases) as stage:
        db = await stage.database()
        async with db.transaction() as session:
            rows = [(uuid4(), "a.b.v1", "{}", stage.clock()) for _ in range(MANY)]
            await session.execute(insert_arrays(outbox, FACT), arrays(FACT, rows))
            order = select(outbox.c.event_id).order_by(outbox.c.id)
            assert (await session.scalars(order)).all() == [row[0] for row in rows]
