"""A single query is read without a transaction block, on the same connections, and leaves them as they were."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import Integer, func, literal_column, select
from sqlalchemy.exc import DBAPIError

from chassis.db import Database, is_down
from chassis.tables import outbox
from chassis.world import World
from tests.chassis.parts import Crash, Setting, count_of, setting, tell
from tests.harness import Databases

ONE = select(literal_column("1", Integer))


@asynccontextmanager
async def one_connection(stage: Setting) -> AsyncIterator[Database]:
    """A database whose pool is empty while somebody keeps a connection."""
    db = Database((await stage.database()).url, stage.world, pool_size=1)
    yield db
    await db.close()


async def test_what_is_read_is_there(databases: Databases) -> None:
    async with setting(databases) as stage, one_connection(stage) as db:
        assert [tuple(row) for row in await db.read(ONE)] == [(1,)]


async def test_a_transaction_after_a_reading_is_one_and_rolls_back(databases: Databases) -> None:
    async with setting(databases) as stage, one_connection(stage) as db:
        await db.read(ONE)
        stage.failpoints.arm("before_commit")
        with pytest.raises(Crash):
            await tell(db, 1)
        assert await count_of(db, outbox) == 0


async def test_a_reader_who_goes_away_or_fails_leaves_the_connection_to_the_next(databases: Databases) -> None:
    async with setting(databases) as stage, one_connection(stage) as db:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await db.read(select(func.pg_sleep(30)))
        assert await db.read(ONE)
        with pytest.raises(DBAPIError):
            await db.read(select(literal_column("1 / 0")))
        assert await db.read(ONE)


async def test_a_database_that_is_away_is_down_for_readers_too() -> None:
    db = Database("postgresql+asyncpg://nobody:x@127.0.0.1:9/nowhere", World())
    with pytest.raises(Exception) as caught:  # noqa: PT011 - of what kind, is_down says
        await db.read(ONE)
    assert is_down(caught.value)
    await db.close()
