"""What is in a database, in a form that can be compared: each table's rows and a checksum of them, its revision."""

from __future__ import annotations

from dataclasses import asdict

from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from services.points.audit import check_ledger

# In the order of nothing: each row's hash, added up. Stable over versions of PostgreSQL, unlike its own hashes.
_SUM_OF = "SELECT count(*), coalesce(sum(('x' || left(md5(t::text), 15))::bit(60)::bigint), 0)::text FROM \"{}\" AS t"
# On which the texts of values depend.
_SETTINGS = ("timezone = 'UTC'", "datestyle = 'ISO'", "bytea_output = 'hex'", "extra_float_digits = 1")
_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"


class TableContents(BaseModel):
    """How many rows a table has, and the sum of their hashes."""

    rows: int
    checksum: str


class DatabaseContents(BaseModel):
    """One database: the revision of its schema and every table."""

    revision: str
    tables: dict[str, TableContents]


async def tables_of(connection: AsyncConnection) -> list[str]:
    """The names of all tables."""
    return list(await connection.scalars(text(_TABLES)))


async def contents_of(connection: AsyncConnection) -> DatabaseContents:
    """Everything that is in the database, added up."""
    for setting in _SETTINGS:
        await connection.execute(text(f"SET {setting}"))
    tables = {}
    for name in await tables_of(connection):
        rows, checksum = (await connection.execute(text(_SUM_OF.format(name)))).one()
        tables[name] = TableContents(rows=rows, checksum=checksum)
    revision = await connection.scalar(text("SELECT version_num FROM alembic_version"))
    return DatabaseContents(revision=str(revision), tables=tables)


async def ledger_of(connection: AsyncConnection) -> dict[str, int]:
    """The sums of the ledger in the database of points; all but `transfers` are zero in a sound one."""
    async with AsyncSession(connection) as session:
        return asdict(await check_ledger(session))
