"""A crowd: the rows that a story left in a service's tables, copied until PostgreSQL's planner takes them seriously."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

from sqlalchemy import Column, DateTime, LargeBinary, Table, Text, Uuid, func, make_url, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from chassis.parked import park
from chassis.service import Service
from tests.harness import ServiceUnderTest

ROWS = 10_000
# Tables that do not grow with use: places, words, rules, who works here, how many have each score. Reading one of them
# whole is right.
FEW = frozenset(
    {"areas", "categories", "centres", "rules", "scopes", "score_counts", "staff_accounts", "token_cutoffs"}
)
# Texts that are another one in each row.
DISTINCT = frozenset({"dedupe_key", "display_name", "key", "partition_key", "phone_hash", "pickup_code", "ticket"})


async def make_crowd(running: ServiceUnderTest, service: Service, server_url: str) -> None:
    """Copy what there is, and a dead letter, to some `ROWS` rows a table, with ids, hashes and times of their own."""
    async with running.db.transaction() as session:
        await park(session, uuid4(), "linli.toy.thing_said.v1", "key", "{}", "a dead letter", state="dead")
    async with as_superuser(running, server_url) as connection:
        # No triggers, and so no foreign keys: the copies refer to nothing.
        await connection.execute(text("SET session_replication_role = replica"))
        for table in service.metadata.sorted_tables:
            if table.name not in FEW:
                await _copy(connection, table)
        await connection.execute(text("VACUUM ANALYZE"))


@asynccontextmanager
async def as_superuser(running: ServiceUnderTest, server_url: str) -> AsyncIterator[AsyncConnection]:
    """A connection that may do anything with the service's database, each statement by itself."""
    url = make_url(server_url).set(database=make_url(running.db.url).database)
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as connection:
            yield connection
    finally:
        await engine.dispose()


async def _copy(connection: AsyncConnection, table: Table) -> None:
    columns = [column for column in table.columns if column.identity is None]
    names = ", ".join(f'"{column.name}"' for column in columns)
    values = ", ".join(_value(column) for column in columns)
    there = await connection.scalar(select(func.count()).select_from(table)) or ROWS
    copies = f'FROM "{table.name}" CROSS JOIN generate_series(1, {ROWS // there}) AS n'
    await connection.execute(text(f'INSERT INTO "{table.name}" ({names}) SELECT {values} {copies}'))


def _value(column: Column[object]) -> str:
    """The copy's value as an expression over the original: null stays null, and words and areas stay as they are."""
    name = f'"{column.name}"'
    if isinstance(column.type, Uuid) and column.name != "area_id":
        return f"CASE WHEN {name} IS NOT NULL THEN gen_random_uuid() END"
    if isinstance(column.type, LargeBinary):
        return f"CASE WHEN {name} IS NOT NULL THEN decode(md5(random()::text), 'hex') END"
    if isinstance(column.type, Text) and column.name in DISTINCT:
        return f"CASE WHEN {name} IS NOT NULL THEN md5(random()::text) END"
    if isinstance(column.type, DateTime):
        return f"{name} - n * interval '1 second'"
    return f"{name} + n % 500" if column.name == "score" else name
