"""A service's database from nothing to the current schema: database and roles, revisions, grants.

Two roles a database: the migrator owns the schema; the application may read and write rows, and on tables marked
`APPEND_ONLY` only add them.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, make_url, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

# Any fixed number: who holds this advisory lock migrates, the others wait.
MIGRATION_LOCK = 0x4D_49_47


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
    """Bring the schema to the newest revision, and the application's grants to what the metadata says."""
    engine = create_async_engine(urls.migrator)
    application = make_url(urls.application).username
    try:
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})
            await connection.run_sync(_run_revisions, metadata, revisions)
            await connection.execute(text("SET LOCAL lock_timeout = '10s'"))
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


def _run_revisions(connection: Connection, metadata: MetaData, revisions: Path) -> None:
    config = config_for(connection, metadata, revisions)
    newest = ScriptDirectory.from_config(config).get_heads()
    if set(MigrationContext.configure(connection).get_current_heads()) != set(newest):
        connection.execute(text("SET LOCAL lock_timeout = '10s'"))
        command.upgrade(config, "head")


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
