"""A service's database from nothing to the current schema: database and roles, revisions, grants.

Two roles a database: the migrator owns the schema; the application may read and write rows, and on tables marked
`APPEND_ONLY` only add them.

The schema only goes forward. A release runs on the schema of the next one, since revisions expand before they
contract (tools/revisions.py sees to that); one that finds a newer schema leaves it and the rights on it as they are.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from chassis.db import is_lock_timeout, is_transient

# Any fixed number: who holds this advisory lock migrates, the others wait.
MIGRATION_LOCK = 0x4D_49_47
# Whoever comes after a revision that waits for a table waits as well, so it does not wait for long: it lets them pass,
# and tries again.
LOCK_TIMEOUT_MS = 1_000
LOCK_ATTEMPTS = 40
LOCK_PAUSE_S = 1.0


@dataclass(frozen=True)
class DatabaseUrls:
    """How to reach one service's database in each role."""

    migrator: str
    application: str


async def provision(admin_url: str, name: str, application_password: str | None = None) -> DatabaseUrls:
    """Make the database and its two roles where they are missing; `name` is ours, not input.

    The application has the password given, the migrator a fresh one: only who provisions it migrates.
    """
    url = make_url(admin_url)
    migrator, application = f"{name}_migrator", f"{name}_app"
    passwords = {migrator: _fresh_password(), application: application_password or _fresh_password()}
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as connection:
            for role, password in passwords.items():
                await _create_role(connection, role, password)
            exists = await connection.scalar(text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": name})
            if not exists:
                await connection.execute(text(f'GRANT "{migrator}" TO CURRENT_USER'))
                options = "ENCODING 'UTF8' LOCALE 'C.UTF-8' TEMPLATE template0"
                await connection.execute(text(f'CREATE DATABASE "{name}" OWNER "{migrator}" {options}'))
            # Each time: whoever made the database may have died before this.
            await connection.execute(text(f'REVOKE ALL ON DATABASE "{name}" FROM PUBLIC'))
            await connection.execute(text(f'GRANT CONNECT ON DATABASE "{name}" TO "{application}"'))
    finally:
        await engine.dispose()

    def url_for(role: str) -> str:
        return url.set(username=role, password=passwords[role], database=name).render_as_string(hide_password=False)

    return DatabaseUrls(url_for(migrator), url_for(application))


def _fresh_password() -> str:
    return secrets.token_urlsafe(24)


async def _create_role(connection: AsyncConnection, role: str, password: str) -> None:
    exists = await connection.scalar(text("SELECT 1 FROM pg_roles WHERE rolname = :role"), {"role": role})
    verb = "ALTER" if exists else "CREATE"
    quoted = password.replace("'", "''")
    await connection.exec_driver_sql(f"{verb} ROLE \"{role}\" LOGIN PASSWORD '{quoted}'")


async def upgrade(urls: DatabaseUrls, metadata: MetaData, revisions: Path) -> None:
    """Bring the schema to the newest revision, and the application's grants to what the metadata says.

    All of it or nothing. The database's error when locks that it needs were taken at every attempt.
    """
    for attempt in range(1, LOCK_ATTEMPTS + 1):
        try:
            await _upgrade(urls, metadata, revisions)
        except DBAPIError as error:
            if attempt == LOCK_ATTEMPTS or not (is_lock_timeout(error) or is_transient(error)):
                raise
        else:
            return
        await asyncio.sleep(LOCK_PAUSE_S)


async def _upgrade(urls: DatabaseUrls, metadata: MetaData, revisions: Path) -> None:
    engine = create_async_engine(urls.migrator)
    application = make_url(urls.application).username
    try:
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})
            await connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_MS}ms'"))
            if await connection.run_sync(_run_revisions, metadata, revisions):
                await _grant(connection, metadata, str(application))
    finally:
        await engine.dispose()


def config_for(connection: Connection | None, metadata: MetaData, revisions: Path) -> Config:
    """Alembic's configuration for one service."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "alembic"))
    config.set_main_option("version_locations", str(revisions))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    config.attributes["metadata"] = metadata
    return config


def _run_revisions(connection: Connection, metadata: MetaData, revisions: Path) -> bool:
    """Whether the schema is now that of this release; not when it is newer."""
    config = config_for(connection, metadata, revisions)
    current = set(MigrationContext.configure(connection).get_current_heads())
    if current - known_revisions(metadata, revisions):
        return False
    if current != set(ScriptDirectory.from_config(config).get_heads()):
        command.upgrade(config, "head")
    return True


def known_revisions(metadata: MetaData, revisions: Path) -> set[str]:
    """All revisions of this release."""
    script = ScriptDirectory.from_config(config_for(None, metadata, revisions))
    return {one.revision for one in script.walk_revisions()}


async def _grant(connection: AsyncConnection, metadata: MetaData, application: str) -> None:
    await connection.execute(text(f'GRANT USAGE ON SCHEMA public TO "{application}"'))
    # Taken back and given in one transaction: a right that the metadata no longer names is gone.
    await connection.execute(text(f'REVOKE ALL ON ALL TABLES IN SCHEMA public FROM "{application}"'))
    await connection.execute(text(f'GRANT SELECT ON ALL TABLES IN SCHEMA public TO "{application}"'))
    await connection.execute(text(f'GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO "{application}"'))
    existing = set(await connection.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")))
    for table in metadata.sorted_tables:
        if table.name not in existing:
            continue
        rights = "INSERT" if table.info.get("append_only") else "INSERT, UPDATE, DELETE"
        await connection.execute(text(f'GRANT {rights} ON "{table.name}" TO "{application}"'))
