"""The newest revisions wait for who writes the ledger, and do not meet them in a circle of locks."""

from __future__ import annotations

import asyncio

from alembic import command
from sqlalchemy import Connection, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from chassis import migrations
from services.points.app import SERVICE
from services.points.ledger import LEDGER_LOCK
from tests.chassis.buses import eventually
from tests.chassis.parts import must_fail
from tests.harness import Databases

WAITS = (
    "SELECT count(*) FROM pg_locks JOIN pg_database AS here ON here.oid = pg_locks.database"
    " WHERE here.datname = current_database() AND locktype = 'advisory' AND NOT granted"
)
TOUCH_ENTRIES = "INSERT INTO entries SELECT gen_random_uuid(), gen_random_uuid(), 1 WHERE false"
TOUCH_SCORES = (
    "INSERT INTO scores SELECT 2026, gen_random_uuid(), 'member_points', gen_random_uuid(), 1, now() WHERE false"
)


def _to_the_first(connection: Connection) -> None:
    command.upgrade(migrations.config_for(connection, SERVICE.metadata, SERVICE.revisions), "0001")


async def an_award_goes_on_while_the_upgrade_waits(databases: Databases, lock: int, within_s: float = 30) -> None:
    urls = await databases.empty("points")
    owner = create_async_engine(urls.migrator)
    async with owner.begin() as connection:
        await connection.run_sync(_to_the_first)
        application = make_url(urls.application).username
        await connection.execute(text(f'GRANT INSERT, SELECT ON entries, scores TO "{application}"'))
    awarding = create_async_engine(urls.application, connect_args={"server_settings": {"lock_timeout": "500"}})
    upgrade: asyncio.Task[None] | None = None
    try:
        async with awarding.begin() as award:
            await award.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": lock})
            await award.execute(text(TOUCH_ENTRIES))
            upgrade = asyncio.create_task(migrations.upgrade(urls, SERVICE.metadata, SERVICE.revisions))

            async def upgrade_waits() -> bool:
                async with owner.connect() as look:
                    return bool(await look.scalar(text(WAITS)))

            await eventually(upgrade_waits, within_s)
            await award.execute(text(TOUCH_SCORES))
    finally:
        if upgrade is not None:
            await upgrade
        await awarding.dispose()
        await owner.dispose()


async def test_an_award_goes_on_while_the_upgrade_waits_for_it(databases: Databases) -> None:
    await an_award_goes_on_while_the_upgrade_waits(databases, LEDGER_LOCK)


async def test_the_control_writes_without_the_ledgers_lock(databases: Databases) -> None:
    await must_fail(an_award_goes_on_while_the_upgrade_waits, databases, LEDGER_LOCK + 1, within_s=3)
