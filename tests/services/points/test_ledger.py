"""The database itself refuses what must not happen to the ledger, to the application and to the migrator."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from services.points.app import SERVICE
from tests.harness import Databases, Person, ServiceUnderTest
from tests.services.points.story import give_points, require_sound_ledger, run_points

CHANGES = [
    f"{change} {table}{how}"
    for table, column in (("entries", "amount"), ("transfers", "amount"))
    for change, how in (("UPDATE", f" SET {column} = 1"), ("DELETE FROM", ""), ("TRUNCATE", " CASCADE"))
]
NEW_TRANSFER = (
    "INSERT INTO transfers (id, kind, dedupe_key, subject_type, subject_id, asset, amount, at)"
    " SELECT '00000000-0000-0000-0000-0000000000aa', 'hold', 'by hand', 'person', gen_random_uuid(), 'points', 1, now()"
)
ENTER = (
    "INSERT INTO entries SELECT '00000000-0000-0000-0000-0000000000aa', id,"
    " CASE purpose WHEN 'main' THEN {main} ELSE {issued} END"
    " FROM accounts WHERE asset = 'points' AND purpose IN ('main', 'issued')"
)


@asynccontextmanager
async def connected(databases: Databases, points: ServiceUnderTest, role: str) -> AsyncIterator[AsyncConnection]:
    """A connection to the service's database in one of its two roles."""
    template = await databases.template(SERVICE)
    url = make_url(template.migrator if role == "migrator" else template.application)
    engine = create_async_engine(url.set(database=make_url(points.db.url).database))
    try:
        async with engine.connect() as connection:
            yield connection
    finally:
        await engine.dispose()


@pytest.mark.parametrize("role", ["application", "migrator"])
async def test_neither_role_changes_what_was_posted(databases: Databases, role: str) -> None:
    async with run_points(databases) as points:
        await give_points(points, Person())
        async with connected(databases, points, role) as connection:
            for change in CHANGES:
                with pytest.raises(DBAPIError, match=r"permission denied|only added to"):
                    await connection.execute(text(change))
                await connection.rollback()
        assert await require_sound_ledger(points) == 2


@pytest.mark.parametrize("role", ["application", "migrator"])
@pytest.mark.parametrize(
    "statements",
    [
        (NEW_TRANSFER,),
        (NEW_TRANSFER, ENTER.format(main=5, issued=-4)),
        (NEW_TRANSFER, ENTER.format(main=5, issued=-5) + " AND purpose = 'main'"),
    ],
    ids=["no entries", "sum of one", "one entry"],
)
async def test_a_transfer_that_does_not_balance_never_commits(
    databases: Databases, role: str, statements: tuple[str, ...]
) -> None:
    async with run_points(databases) as points:
        await give_points(points, Person())
        async with connected(databases, points, role) as connection:
            for statement in statements:
                await connection.execute(text(statement))
            with pytest.raises(DBAPIError, match="entries with the sum"):
                await connection.commit()
        assert await require_sound_ledger(points) == 2


async def test_a_transfer_that_balances_commits_and_then_takes_no_further_entry(databases: Databases) -> None:
    async with run_points(databases) as points:
        await give_points(points, Person())
        async with connected(databases, points, "application") as connection:
            await connection.execute(text(NEW_TRANSFER))
            await connection.execute(text(ENTER.format(main=5, issued=-5)))
            await connection.commit()
            energy = ENTER.replace("'points' AND purpose IN ('main', 'issued')", "'energy' AND purpose = 'main'")
            await connection.execute(text(energy.format(main=1, issued=0)))
            with pytest.raises(DBAPIError, match="entries with the sum"):
                await connection.commit()
            await connection.rollback()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE accounts SET balance = -1 WHERE purpose = 'main'",
        "UPDATE accounts SET balance = 1 WHERE purpose = 'issued'",
        "UPDATE accounts SET purpose = 'debt' WHERE purpose = 'main'",
        "UPDATE accounts SET owner_type = 'system' WHERE purpose = 'main'",
        "UPDATE rules SET version = 9",
        "DELETE FROM rules",
    ],
)
async def test_accounts_keep_their_sign_and_rules_their_versions(databases: Databases, change: str) -> None:
    async with run_points(databases) as points:
        await give_points(points, Person())
        async with connected(databases, points, "application") as connection:
            with pytest.raises(DBAPIError):
                await connection.execute(text(change))


async def test_the_check_sees_a_balance_that_its_entries_do_not_explain(databases: Databases) -> None:
    async with run_points(databases) as points:
        await give_points(points, Person())
        async with points.db.transaction() as session:
            await session.execute(text("UPDATE accounts SET balance = balance + 1 WHERE purpose = 'main'"))
        with pytest.raises(AssertionError):
            await require_sound_ledger(points)
