"""One moment at which to see every database: no fact is on its way from one to another.

A fact told by one service is in its outbox, or in a queue, or had by all that listen. Databases seen one after another
would know of it twice or not at all. So the relays are held up, what is in the queues is waited for, and then each
database's snapshot is taken: every fact is in its teller's outbox, or in the inboxes of all its listeners. Requests go
on being answered; once the snapshots are there, seconds later, the relays go on too, however long the dumps then take.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from sqlalchemy import NullPool, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from chassis.outbox import SENDING_LOCK

# A relay's batch in hand, publishing time-outs included, is over before this.
HOLD_WAIT_S = 30
# By then every relay is held up, every queue empty and every snapshot taken, or there is no backup.
MOMENT_WITHIN_S = 90
# Should this process hang, the databases let the relays go on.
HOLD_MAX_S = 120


class CannotBackUp(Exception):
    """No backup can be taken now; the message says why."""


@dataclass(frozen=True)
class Snapshot:
    """A database as of the moment: what to tell pg_dump, and a connection that sees the same."""

    id: str
    connection: AsyncConnection


# Returns once every queue is empty; raises CannotBackUp when one stays full.
Drained = Callable[[], Awaitable[None]]


@asynccontextmanager
async def at_one_moment(
    server_url: str, databases: Sequence[str], drained: Drained
) -> AsyncIterator[Mapping[str, Snapshot]]:
    """Snapshots of these databases, usable within the block; the first is taken last.

    Members comes first: whoever another service knows by their token alone is then known there, too.
    """
    snapshots: dict[str, Snapshot] = {}
    async with AsyncExitStack() as open_connections:
        try:
            async with asyncio.timeout(MOMENT_WITHIN_S), AsyncExitStack() as held:
                holding: dict[str, AsyncConnection] = {}
                for database in databases:
                    holding[database] = await held.enter_async_context(connect(server_url, database))
                    await _hold_relay(holding[database], database)
                await drained()
                for database in reversed(databases):
                    seeing = connect(server_url, database, isolation_level="REPEATABLE READ")
                    snapshots[database] = await take_snapshot(await open_connections.enter_async_context(seeing))
                for database, connection in holding.items():
                    await _let_relay_go(connection, database)
        except TimeoutError as error:
            raise CannotBackUp(
                f"there was no moment with every relay held up and every queue empty within {MOMENT_WITHIN_S} s"
            ) from error
        yield snapshots


async def _hold_relay(connection: AsyncConnection, database: str) -> None:
    try:
        await connection.execute(text(f"SET idle_session_timeout = '{HOLD_MAX_S}s'"))
        await connection.execute(text(f"SET lock_timeout = '{HOLD_WAIT_S}s'"))
        await connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": SENDING_LOCK})
    except DBAPIError as error:
        raise CannotBackUp(f"the relay of {database} cannot be held up: {error.orig}") from error


async def _let_relay_go(connection: AsyncConnection, database: str) -> None:
    """CannotBackUp unless it was held up until now: one that was not may have sent facts between two snapshots."""
    try:
        was_held = await connection.scalar(text("SELECT pg_advisory_unlock(:lock)"), {"lock": SENDING_LOCK})
    except DBAPIError as error:
        raise CannotBackUp(f"the relay of {database} was not held up until the end: {error.orig}") from error
    if not was_held:
        raise CannotBackUp(f"the relay of {database} was not held up until the end")


async def take_snapshot(connection: AsyncConnection) -> Snapshot:
    """The database as it is now, for as long as the connection's transaction lasts."""
    return Snapshot(str(await connection.scalar(text("SELECT pg_export_snapshot()"))), connection)


@asynccontextmanager
async def connect(
    server_url: str, database: str, *, isolation_level: str = "AUTOCOMMIT"
) -> AsyncIterator[AsyncConnection]:
    """A superuser's connection to one database."""
    engine = create_async_engine(
        make_url(server_url).set(database=database),
        poolclass=NullPool,
        isolation_level=isolation_level,
        hide_parameters=True,
    )
    try:
        async with engine.connect() as connection:
            yield connection
    finally:
        await engine.dispose()
