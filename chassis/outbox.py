"""The transactional outbox: a fact is a row of the transaction that made it true; the relay sends it afterwards.

The relay never gives up and never goes by `id > last`: it takes whatever rows are there and due, and deletes a row when
the bus has confirmed it. A row that was sent and not yet deleted when the process died is sent again: inboxes know it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import delete, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from chassis.background import wait_at_most
from chassis.bus import Bus, BusAway, Letter
from chassis.db import Database, opened
from chassis.tables import outbox
from chassis.telemetry import current_origin
from chassis.tracing import announced
from contracts.event import Envelope, Event

RELAY_BATCH_MAX = 300
RELAY_POLL_S = 1.0
# After a batch that was not full. A fact by itself goes out at once, and many one after another go out together.
RELAY_REST_S = 0.02
RELAY_BACKOFF_MAX_S = 60
# Any fixed number: who holds this advisory lock in a service's database is its relay.
RELAY_LOCK = 0x11_4C_49
# A relay shares this one for each batch, from before it is published until its rows are deleted; who holds it alone, to
# see every service's database at a moment at which no fact is on its way, holds the relays up.
SENDING_LOCK = 0x11_4C_4A
WAKE_CHANNEL = "outbox_written"

log = structlog.get_logger(__name__)


def emit(session: AsyncSession, fact: Event, *, sequence: int) -> None:
    """Tell a fact about a thing whose version is now `sequence`; it is sent once the transaction has committed."""
    transaction = opened(session)
    world = transaction.world
    origin = current_origin()
    parent = announced(f"tell {fact.type}", origin.traceparent)
    envelope = Envelope(world.new_id(), fact, sequence, world.now(), origin.request_id, parent)
    transaction.outbox_rows.append(
        {
            "event_id": envelope.id,
            "routing_key": fact.routing_key(),
            "document": envelope.to_json(),
            "next_at": envelope.time,
        }
    )


class Relay:
    """Sends a service's outbox to the bus. Copies of the service elect one by an advisory lock."""

    def __init__(self, db: Database, bus: Bus) -> None:
        self._db = db
        self._bus = bus

    async def run(self) -> None:
        """Send until cancelled; whatever goes wrong is logged and tried again."""
        while True:
            try:
                async with self._db.engine.connect() as plain:
                    connection = await plain.execution_options(isolation_level="AUTOCOMMIT")
                    try:
                        await self._serve(connection)
                    finally:
                        # The election is the connection's: back in the pool, it would stay elected and send nothing.
                        await connection.invalidate()
            except Exception as error:
                log.warning("relay_interrupted", cause=repr(error))
                await asyncio.sleep(RELAY_POLL_S)

    async def _serve(self, connection: AsyncConnection) -> None:
        """As long as the connection, and with it the election, lasts."""
        while not await connection.scalar(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": RELAY_LOCK}):
            await self._wake_elected(connection)
        driver: Any = (await connection.get_raw_connection()).driver_connection
        await driver.add_listener(WAKE_CHANNEL, lambda *_: self._db.outbox_written.set())
        while True:
            self._db.outbox_written.clear()
            try:
                settled = await self.send_batch(connection)
            except BusAway as error:
                # The bus says so itself, and by waiting: it is away, and this copy stays elected.
                log.debug("bus_away", cause=repr(error))
                settled = 0
            if not settled:
                await wait_at_most(self._db.outbox_written, RELAY_POLL_S)
            elif settled < RELAY_BATCH_MAX:
                await asyncio.sleep(RELAY_REST_S)

    async def _wake_elected(self, connection: AsyncConnection) -> None:
        """Tell the elected copy of what this one committed: many commits at once, and in a transaction of its own.

        NOTIFY inside the commits themselves would make them queue for one lock.
        """
        await wait_at_most(self._db.outbox_written, RELAY_POLL_S)
        if self._db.outbox_written.is_set():
            self._db.outbox_written.clear()
            await connection.execute(text(f"NOTIFY {WAKE_CHANNEL}"))

    async def send_batch(self, connection: AsyncConnection) -> int:
        """Send the rows that are due, at most a batch; returns how many are settled: sent, or put off.

        No transaction is held open. While the bus is away nothing is settled, and no row counts an attempt; nor while
        somebody holds the relays up.
        """
        due = (
            select(outbox.c.id, outbox.c.event_id, outbox.c.routing_key, outbox.c.document, outbox.c.attempts)
            .where(outbox.c.next_at <= self._db.world.now())
            .order_by(outbox.c.id)
            .limit(RELAY_BATCH_MAX)
        )
        rows = (await connection.execute(due)).all()
        if not rows:
            return 0
        async with _sending(connection) as may_send:
            return await self._send(connection, rows) if may_send else 0

    async def _send(self, connection: AsyncConnection, rows: Sequence[Any]) -> int:
        world = self._db.world
        world.failpoint("relay.before_publish")
        letters = [Letter(row.event_id, row.routing_key, row.document) for row in rows]
        outcomes = await self._bus.publish(letters)
        world.failpoint("relay.after_publish")
        confirmed = [row.id for row, outcome in zip(rows, outcomes, strict=True) if outcome is None]
        if confirmed:
            await connection.execute(delete(outbox).where(outbox.c.id.in_(confirmed)))
        world.failpoint("relay.after_delete")
        failed = [
            (row, outcome)
            for row, outcome in zip(rows, outcomes, strict=True)
            if outcome is not None and not isinstance(outcome, BusAway)
        ]
        await self._postpone(connection, failed)
        return len(confirmed) + len(failed)

    async def _postpone(self, connection: AsyncConnection, failed: Sequence[tuple[Any, Exception]]) -> None:
        for row, error in failed:
            attempts = row.attempts + 1
            wait_s = min(2 ** min(attempts, 10) / 2, RELAY_BACKOFF_MAX_S)
            log.warning("publish_failed", routing_key=row.routing_key, attempts=attempts, cause=repr(error))
            await connection.execute(
                update(outbox)
                .where(outbox.c.id == row.id)
                .values(
                    attempts=attempts,
                    next_at=self._db.world.now() + timedelta(seconds=wait_s),
                    cause=repr(error)[:500],
                )
            )


@asynccontextmanager
async def _sending(connection: AsyncConnection) -> AsyncIterator[bool]:
    """Whether a batch may be sent within the block: not while somebody holds the relays up, or waits to."""
    lock = {"lock": SENDING_LOCK}
    shared = bool(await connection.scalar(text("SELECT pg_try_advisory_lock_shared(:lock)"), lock))
    try:
        yield shared
    finally:
        # With the connection goes the lock.
        if shared and not connection.closed and not connection.invalidated:
            await connection.execute(text("SELECT pg_advisory_unlock_shared(:lock)"), lock)
