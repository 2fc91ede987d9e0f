"""Every service's revisions make what its models say, both ways, with no more rights than the application needs."""

from __future__ import annotations

import asyncio
import importlib
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import CheckConstraint, Connection, MetaData, inspect, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from chassis import migrations
from chassis.migrations import DatabaseUrls
from chassis.service import Service
from chassis.tables import service_metadata
from tests.harness import Databases

SERVICES = ["members", "catalog", "orders", "points", "notify"]


def service(name: str) -> Service:
    found: Service = importlib.import_module(f"services.{name}.app").SERVICE
    return found


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[AsyncConnection]:
    engine = create_async_engine(url)
    try:
        async with engine.begin() as connection:
            yield connection
    finally:
        await engine.dispose()


async def run(url: str, work: Callable[..., Any], *arguments: Any) -> Any:
    async with connected(url) as connection:
        return await connection.run_sync(work, *arguments)


def differences(connection: Connection, metadata: MetaData) -> list[Any]:
    context = MigrationContext.configure(connection, opts={"compare_server_default": True, "compare_type": True})
    return list(compare_metadata(context, metadata))


def checks(connection: Connection, metadata: MetaData) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """Names of check constraints in the database and in the models; Alembic does not compare them."""
    inspector = inspect(connection)
    there = {
        (table, str(check["name"])) for table in metadata.tables for check in inspector.get_check_constraints(table)
    }
    declared = {
        (table.name, str(check.name))
        for table in metadata.tables.values()
        for check in table.constraints
        if isinstance(check, CheckConstraint)
    }
    return there, declared


def downgrade(connection: Connection, made: Service) -> None:
    command.downgrade(migrations.config_for(connection, made.metadata, made.revisions), "base")


def tables(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names()) - {"alembic_version"}


@pytest.mark.parametrize("name", SERVICES)
async def test_the_revisions_make_what_the_models_say(databases: Databases, name: str) -> None:
    made = service(name)
    urls = await databases.template(made)
    assert await run(urls.migrator, differences, made.metadata) == []
    there, declared = await run(urls.migrator, checks, made.metadata)
    assert there == declared


async def test_control_a_difference_is_seen(databases: Databases) -> None:
    urls = await databases.template(service("points"))
    assert await run(urls.migrator, differences, service_metadata()) != []


@pytest.mark.parametrize("name", SERVICES)
async def test_down_to_nothing_and_up_again(databases: Databases, name: str) -> None:
    made = service(name)
    urls = await databases.empty(name)
    for _ in range(2):
        await migrations.upgrade(urls, made.metadata, made.revisions)
        assert await run(urls.migrator, tables) >= set(made.metadata.tables)
        assert await run(urls.migrator, differences, made.metadata) == []
        await run(urls.migrator, downgrade, made)
        assert await run(urls.migrator, tables) == set()


@pytest.mark.parametrize("name", SERVICES)
def test_the_revisions_are_one_line(name: str) -> None:
    made = service(name)
    script = ScriptDirectory.from_config(migrations.config_for(None, made.metadata, made.revisions))
    assert len(script.get_heads()) == 1
    assert len(script.get_bases()) == 1


async def refused(url: str, statement: str) -> bool:
    """Whether the database refuses it for want of a right, or by a trigger."""
    try:
        async with connected(url) as connection:
            await connection.execute(text(statement))
            await connection.rollback()
    except DBAPIError as error:
        return getattr(error.orig, "sqlstate", "") in {"42501", "P0001"}
    return False


@pytest.mark.parametrize("name", SERVICES)
async def test_the_application_adds_to_append_only_tables_and_changes_nothing_there(
    databases: Databases, name: str
) -> None:
    made = service(name)
    urls = await databases.template(made)
    for table in made.metadata.tables.values():
        column = next(iter(table.columns)).name
        change = f'UPDATE "{table.name}" SET "{column}" = "{column}"'  # noqa: S608 - names of ours
        statements = [f'DELETE FROM "{table.name}"', change]  # noqa: S608 - as above
        for statement in statements:
            only_added = bool(table.info.get("append_only"))
            if only_added or "UPDATE" not in statement:  # an identity column is not to be set, whoever asks
                assert await refused(urls.application, statement) == only_added, statement
        assert await refused(urls.application, f'TRUNCATE "{table.name}"')


def test_the_ledger_and_the_audits_are_append_only() -> None:
    marked = {
        (name, table.name)
        for name in SERVICES
        for table in service(name).metadata.tables.values()
        if table.info.get("append_only")
    }
    assert {(name, "audit_entries") for name in SERVICES} <= marked
    assert [table for name, table in marked if name == "points" and "entries" in table]


@pytest.mark.parametrize("name", SERVICES)
async def test_the_application_makes_and_drops_nothing_and_takes_no_role(databases: Databases, name: str) -> None:
    made = service(name)
    urls = await databases.empty(name)
    await migrations.upgrade(urls, made.metadata, made.revisions)
    migrator = make_url(urls.migrator).username
    for statement in (
        "CREATE TABLE intruder (id int)",
        "CREATE TEMPORARY TABLE intruder (id int)",
        "CREATE SCHEMA intruder",
        "ALTER TABLE outbox ADD COLUMN intruder int",
        "GRANT ALL ON outbox TO PUBLIC",
        "UPDATE alembic_version SET version_num = 'x'",
        f'SET ROLE "{migrator}"',
    ):
        if statement.startswith("GRANT"):
            await refused(urls.application, statement)  # PostgreSQL only warns
            query = "SELECT has_table_privilege('public', 'outbox', 'SELECT')"
            async with connected(urls.migrator) as connection:
                assert await connection.scalar(text(query)) is False
        else:
            assert await refused(urls.application, statement), statement


async def test_other_services_roles_do_not_get_in(databases: Databases) -> None:
    points, orders = await databases.empty("points"), await databases.empty("orders")
    crossed = make_url(points.application).set(database=make_url(orders.application).database)
    with pytest.raises(Exception, match="permission denied"):
        async with connected(crossed.render_as_string(hide_password=False)):
            pass


async def test_a_table_that_becomes_append_only_loses_the_rights_it_had(databases: Databases) -> None:
    made = service("points")
    urls = await databases.empty("points")
    await migrations.upgrade(urls, made.metadata, made.revisions)
    assert not await refused(urls.application, "DELETE FROM inbox")
    stricter = MetaData()
    for table in made.metadata.sorted_tables:
        table.to_metadata(stricter).info.update(append_only=True)
    await migrations.upgrade(urls, replace(made, metadata=stricter).metadata, made.revisions)
    assert await refused(urls.application, "DELETE FROM inbox")


def released_before(made: Service, folder: Path) -> Service:
    """The release before the newest revision, as far as its database is concerned."""
    for path in sorted(made.revisions.glob("*.py"))[:-1]:
        shutil.copy(path, folder)
    older = MetaData()
    for table in made.metadata.sorted_tables:
        if table.name != "audit_entries":
            table.to_metadata(older)
    return replace(made, metadata=older, revisions=folder)


async def test_a_release_leaves_a_newer_schema_and_the_rights_on_it_as_they_are(
    databases: Databases, tmp_path: Path
) -> None:
    made = service("points")
    earlier = released_before(made, tmp_path)
    urls = await databases.empty("points")
    await migrations.upgrade(urls, made.metadata, made.revisions)
    await migrations.upgrade(urls, earlier.metadata, earlier.revisions)
    assert await run(urls.migrator, differences, made.metadata) == []
    insert = "INSERT INTO audit_entries SELECT * FROM audit_entries"
    assert not await refused(urls.application, insert), "the copies of the newer release have no right to it any more"
    # Control: at its own schema it gives its own rights, and takes those it does not know.
    await run(urls.migrator, step_back, made)
    await migrations.upgrade(urls, earlier.metadata, earlier.revisions)
    assert await refused(urls.application, insert)


def step_back(connection: Connection, made: Service, to: str = "-1") -> None:
    command.downgrade(migrations.config_for(connection, made.metadata, made.revisions), to)


# The revision of points after this one alters `parked`.
BEFORE_PARKED_CHANGED = "0004"


async def holding_up_others(databases: Databases, attempts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A revision needs a table that a long transaction reads: others read it meanwhile, and in the end it is done."""
    monkeypatch.setattr(migrations, "LOCK_ATTEMPTS", attempts)
    made = service("points")
    urls = await databases.empty("points")
    await migrations.upgrade(urls, made.metadata, made.revisions)
    await run(urls.migrator, step_back, made, BEFORE_PARKED_CHANGED)
    async with connected(urls.application) as reading:
        await reading.execute(text("SELECT count(*) FROM parked"))
        upgrade = asyncio.create_task(migrations.upgrade(urls, made.metadata, made.revisions))
        try:
            for _ in range(4):
                await asyncio.sleep(0.5)
                # Less than a request waits for a lock, `chassis.db.LOCK_TIMEOUT_MS`.
                await run(urls.application, lambda one: one.execute(text("SET lock_timeout = '4s'")).close())
                await run(urls.application, lambda one: one.execute(text("SELECT count(*) FROM parked")).close())
            assert not upgrade.done(), "it did not wait"
        finally:
            await reading.rollback()
            failed = (await asyncio.gather(upgrade, return_exceptions=True))[0]
    assert failed is None
    assert await run(urls.migrator, differences, made.metadata) == []


async def test_a_revision_lets_others_pass_while_it_waits_for_a_table(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    await holding_up_others(databases, migrations.LOCK_ATTEMPTS, monkeypatch)


async def test_control_one_that_tries_once_only_is_not_done(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AssertionError):
        await holding_up_others(databases, 1, monkeypatch)


async def test_two_that_migrate_at_once_wait_for_one_another(databases: Databases) -> None:
    made = service("points")
    urls: DatabaseUrls = await databases.empty("points")
    await asyncio.gather(*(migrations.upgrade(urls, made.metadata, made.revisions) for _ in range(3)))
    assert await run(urls.migrator, differences, made.metadata) == []
