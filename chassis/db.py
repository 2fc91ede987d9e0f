"""One service's database: the connection pool and the one block that commits.

    async with db.transaction() as session:
        ...

Everything a use case changes, and the facts it emits, commits when the block ends; nothing is answered before. What is
read with a single query needs no block: `await db.read(query)`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import orjson
from sqlalchemy import Row, Select, event, insert
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.util import greenlet_spawn

from chassis.arrays import arrays, insert_arrays
from chassis.pulse import Pulse
from chassis.tables import audit_entries, outbox
from chassis.traced_sql import trace_statements
from chassis.world import World

POOL_TIMEOUT_S = 2
STATEMENT_TIMEOUT_MS = 30_000
# A caller whose duplicate is still being decided waits this long for the row, then hears 409.
LOCK_TIMEOUT_MS = 5_000
CONNECT_TIMEOUT_S = 5
# The net under `chassis.pulse`: a connection on which nothing comes, not even that the statement took too long.
SILENCE_TIMEOUT_S = STATEMENT_TIMEOUT_MS / 1000 + 5
# A process that vanished with its machine or network keeps its locks, the relay's election among them, no longer.
VANISHED_AFTER_MS = 10_000


_TOLD = ("event_id", "routing_key", "document", "next_at")
_TELL = insert_arrays(outbox, _TOLD)


@dataclass
class OpenTransaction:
    """What a session of a transaction block carries: the world, and the rows to write before the commit."""

    world: World
    outbox_rows: list[dict[str, object]] = field(default_factory=list)
    audit_rows: list[dict[str, object]] = field(default_factory=list)
    after_commit: list[Callable[[], None]] = field(default_factory=list)


def _forget_row(context: ExceptionContext) -> None:
    """Drop PostgreSQL's DETAIL, the values of the row that failed: an error's text ends in the log."""
    cause = context.original_exception.__cause__
    if getattr(cause, "detail", None):
        cause.detail = None  # type: ignore[union-attr]


class Database:
    """The pool of one service's application role, and its transaction block."""

    def __init__(self, url: str, world: World, *, pool_size: int = 8) -> None:
        self.world = world
        self.url = url
        self.outbox_written = asyncio.Event()
        self._turns = asyncio.Semaphore(pool_size)
        # How many, since the process began, had to wait for a connection.
        self.waits = 0
        self.engine: AsyncEngine = create_async_engine(
            url,
            pool_size=pool_size + 1,  # the relay's
            max_overflow=0,
            pool_timeout=POOL_TIMEOUT_S,
            hide_parameters=True,
            json_deserializer=orjson.loads,
            connect_args={
                "timeout": CONNECT_TIMEOUT_S,
                "command_timeout": SILENCE_TIMEOUT_S,
                "server_settings": {
                    "tcp_user_timeout": str(VANISHED_AFTER_MS),
                    "tcp_keepalives_idle": "5",
                    "tcp_keepalives_interval": "2",
                    "tcp_keepalives_count": "3",
                    "timezone": "UTC",
                    "statement_timeout": str(STATEMENT_TIMEOUT_MS),
                    "lock_timeout": str(LOCK_TIMEOUT_MS),
                },
            },
        )

        event.listen(self.engine.sync_engine, "handle_error", _forget_row)
        self.pulse = Pulse(self.engine, world)
        trace_statements(self.engine.sync_engine)
        self._reading = self.engine.sync_engine.execution_options(isolation_level="AUTOCOMMIT")

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """Yield a session; commit when the block ends, roll back when it raises."""
        async with self._turn(), AsyncSession(self.engine, expire_on_commit=False) as session:
            opened = OpenTransaction(self.world)
            session.info["transaction"] = opened
            async with session.begin():
                yield session
                await session.flush()
                if opened.audit_rows:
                    await session.execute(insert(audit_entries), opened.audit_rows)
                if opened.outbox_rows:
                    await session.execute(_TELL, arrays(_TOLD, map(itemgetter(*_TOLD), opened.outbox_rows)))
                self.world.failpoint("before_commit")
        self.world.failpoint("after_commit")
        for act in opened.after_commit:
            act()
        if opened.outbox_rows:
            self.outbox_written.set()

    async def read(
        self, query: Select[*tuple[Any, ...]], given: Mapping[str, object] | None = None
    ) -> Sequence[Row[Any]]:
        """The rows of one query: a snapshot as it is, so without the round trips of a transaction."""
        async with self._turn():
            return await greenlet_spawn(self._read, query, given)

    def _read(self, query: Select[*tuple[Any, ...]], given: Mapping[str, object] | None) -> Sequence[Row[Any]]:
        # In one go: each step of its own of an AsyncConnection would change greenlets, and its closing make a task.
        with self._reading.connect() as connection:
            return connection.execute(query, given).all()

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """A connection for the block, first come, first served; PoolTimeoutError after `POOL_TIMEOUT_S`.

        DatabaseSilent, at once, while nothing is heard of the database.
        The pool gives a connection that comes back to whoever asks just then, and lets others wait until they fail.
        """
        self.pulse.require()
        self.waits += self._turns.locked()
        try:
            async with asyncio.timeout(POOL_TIMEOUT_S if self._turns.locked() else None):
                await self._turns.acquire()
        except TimeoutError:
            raise PoolTimeoutError(f"no connection within {POOL_TIMEOUT_S} s") from None
        try:
            yield
        finally:
            self._turns.release()

    async def close(self) -> None:
        """Close every connection."""
        self.pulse.disconnect()
        await self.engine.dispose()


def opened(session: AsyncSession) -> OpenTransaction:
    """The transaction block this session belongs to; facts and times exist only inside one."""
    found = session.info.get("transaction")
    if not isinstance(found, OpenTransaction):
        raise RuntimeError("this session was not opened by Database.transaction()")
    return found


def world_of(session: AsyncSession) -> World:
    """Clock, ids and randomness for the use case that got this session."""
    return opened(session).world


class Raced(Exception):
    """Another transaction was faster with something this one needs to be first with: decide again."""


# PostgreSQL's classes of errors that a second attempt may not meet: serialization, deadlock, lock not available.
_TRANSIENT_SQLSTATES = {"40001", "40P01"}
_LOCK_NOT_AVAILABLE = "55P03"
# Connection failures, too many connections, shutting down, starting up.
_DOWN_SQLSTATES = ("08", "53", "57P")


def is_transient(error: BaseException) -> bool:
    """Whether the same statement may well succeed when tried at once again."""
    return isinstance(error, Raced) or (isinstance(error, DBAPIError) and _sqlstate(error) in _TRANSIENT_SQLSTATES)


def is_lock_timeout(error: BaseException) -> bool:
    """Whether another transaction held what this one needs for longer than `LOCK_TIMEOUT_MS`."""
    return isinstance(error, DBAPIError) and _sqlstate(error) == _LOCK_NOT_AVAILABLE


def is_down(error: BaseException) -> bool:
    """Whether the database itself cannot be reached, so that nothing was decided about the request."""
    if isinstance(error, PoolTimeoutError | TimeoutError | OSError):
        return True
    if isinstance(error, DBAPIError):
        if error.connection_invalidated:
            return True
        state = _sqlstate(error)
        return state.startswith(_DOWN_SQLSTATES) if state else isinstance(error, OperationalError)
    return False


def _sqlstate(error: DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", None) or "")
