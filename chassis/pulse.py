"""Whether the database still says anything: a small question at intervals, on a connection of its own.

A server that hangs, or a network that swallows what is sent, refuses nothing. A statement would wait until its
time-out, which leaves room for long work; the pulse tells apart what is slow and what is silent. When nothing comes
back twice in a row, on a new connection the second time, every statement under way fails at once, and so does what
comes after, until an answer is heard again: after 7 seconds at the latest. No connection of before is used again: the
server may have forgotten it.

The answer is the time that the database has: the process sets its clock right by it (`chassis.clock`).
"""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import structlog
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from chassis.world import World

BEAT_EVERY_S = 1.0
ANSWER_WITHIN_S = 2.5
# One may be missed because this process itself, or its machine, was too busy to look.
MISSED_MAX = 2

log = structlog.get_logger(__name__)


class DatabaseSilent(ConnectionError):
    """The database says nothing at the moment: nothing was decided."""


class Pulse:
    """Watches the database of an engine, and which connections the engine has open."""

    def __init__(self, engine: AsyncEngine, world: World) -> None:
        self._world = world
        _, self._connect_arguments = engine.dialect.create_connect_args(engine.url)
        self._engine = engine.sync_engine
        self._connection: Any = None
        self._open: set[Any] = set()
        self._missed = 0
        event.listen(self._engine, "connect", lambda connection, _: self._open.add(connection))
        event.listen(self._engine, "close", lambda connection, _: self._open.discard(connection))

    def require(self) -> None:
        """Raise DatabaseSilent while nothing is heard of the database."""
        if self._missed >= MISSED_MAX:
            raise DatabaseSilent("the database says nothing")

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            await self.beat()
            await asyncio.sleep(BEAT_EVERY_S)

    async def beat(self) -> None:
        """Ask once; whatever goes wrong is noted, never raised."""
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                if self._connection is None:
                    self._connection = await asyncpg.connect(**self._connect_arguments)
                asked = self._world.now()
                theirs = await self._connection.fetchval("SELECT clock_timestamp()")
                self._world.correct(theirs, asked, self._world.now())
        except TimeoutError:
            self._missed += 1
        except Exception as error:
            # It refuses, or has closed the connection: who uses it hears so, too.
            log.debug("pulse_interrupted", cause=repr(error))
            self._missed = 0
        else:
            if self._missed >= MISSED_MAX:
                log.info("database_heard_again")
            self._missed = 0
            return
        self.disconnect()
        if self._missed == MISSED_MAX:
            self._give_up()

    def disconnect(self) -> None:
        """Leave the database alone; the next beat connects again."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    def _give_up(self) -> None:
        """End what waits for an answer: whoever asked hears that the connection is lost."""
        log.warning("database_silent", connections=len(self._open))
        for connection in self._open:
            connection.driver_connection.terminate()
        self._open.clear()
        self._engine.dispose(close=False)
