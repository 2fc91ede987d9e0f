"""The idempotent inbox: an event's effect and the note that it was had commit together, so it is had once.

What fails is a row too (`chassis.parked`), tried again with growing pauses. Later events about the same thing queue
behind it; nothing else does. While this service's own database is down, or another copy holds a lock for too long,
nothing is decided and no attempt is counted: the bus keeps the letter.

While a service is rolled out, its queue carries events that only the new release listens to. The old one parks those
as they are, for a copy that can handle them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any
from uuid import UUID

import structlog
from opentelemetry.trace import SpanKind
from sqlalchemy import delete, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.arrays import arrays, insert_arrays
from chassis.db import Database, is_down, is_lock_timeout, is_transient
from chassis.parked import BEHIND_PAUSE, UNREADABLE, bury, count_attempt, due, held, let_next_follow, park
from chassis.tables import inbox, parked
from chassis.tracing import together
from contracts.event import CloudEvent, Envelope, Event, UnknownEventType, parse

QUICK_ATTEMPTS = 3
RETRY_POLL_S = 0.5
KEEP_INBOX_DAYS = 14
# How long an event of a type that this release does not handle waits for a copy of one that does.
WAIT_FOR_RELEASE = timedelta(hours=1)

# A handler applies events of the types it is declared for, in order of arrival, in the transaction it is given.
Handler = Callable[[AsyncSession, Sequence[Envelope[Any]]], Awaitable[None]]
Handlers = Mapping[type[Event], Handler]

log = structlog.get_logger(__name__)

_NOTED = ("event_id", "received_at")
_NOTE = insert_arrays(inbox, _NOTED).on_conflict_do_nothing().returning(inbox.c.event_id)


class Inbox:
    """What a service hears: applies each event once through the service's handlers."""

    def __init__(self, db: Database, handlers: Handlers) -> None:
        self._db = db
        self._handlers = {kind.type: handler for kind, handler in handlers.items()}
        # Since the process began: events that had their effect, by type, and attempts that failed.
        self.handled: Counter[str] = Counter()
        self.failures = 0

    async def receive(self, documents: Sequence[str]) -> None:
        """Return when every document's effect or its row in `parked` has committed; raise when the database is down."""
        envelopes: dict[UUID, Envelope[Event]] = {}
        for document in documents:
            try:
                envelope = self._parse(document)
            except UnknownEventType as error:
                # After what came before it: of one thing's events, none overtakes another.
                await self._apply(list(envelopes.values()))
                envelopes.clear()
                await self._leave_to_another_release(error.wire, document)
            except ValueError as error:
                await self._bury(document, f"unreadable: {type(error).__name__}")
            else:
                envelopes.setdefault(envelope.id, envelope)
        await self._apply(list(envelopes.values()))

    async def bury(self, documents: Sequence[str]) -> None:
        """Keep documents as dead letters, unread: the bus gave them up, since a process died on each too often."""
        for document in documents:
            await self._bury(document, "given up by the bus: handed over too often without an answer")

    def _parse(self, document: str) -> Envelope[Event]:
        """As `parse`; UnknownEventType also for a type that this release knows and does not listen to."""
        envelope = parse(document)
        if envelope.type not in self._handlers:
            raise UnknownEventType(CloudEvent.model_validate_json(document))
        return envelope

    async def _apply(self, envelopes: Sequence[Envelope[Event]]) -> None:
        if not envelopes:
            return
        try:
            await self._with_quick_retries(envelopes)
        except Exception as error:
            if is_nobodys_fault(error):
                raise
            if len(envelopes) == 1:
                await self._park(envelopes[0], error)
            else:
                for envelope in envelopes:
                    await self._apply([envelope])

    async def _with_quick_retries(self, envelopes: Sequence[Envelope[Event]]) -> None:
        for attempt in range(1, QUICK_ATTEMPTS + 1):
            try:
                await self._apply_together(envelopes)
                return
            except Exception as error:
                if attempt == QUICK_ATTEMPTS or not is_transient(error):
                    raise
                await asyncio.sleep(0.01 * attempt)

    async def _apply_together(self, envelopes: Sequence[Envelope[Event]]) -> None:
        async with self._db.transaction() as session:
            ready = await self._hold_back(session, envelopes)
            fresh = await self._note(session, ready)
            for handler, run in groupby(fresh, key=lambda envelope: self._handlers[envelope.type]):
                await _handle(session, handler, list(run))
        self.handled.update(envelope.type for envelope in fresh)

    async def _note(self, session: AsyncSession, envelopes: Sequence[Envelope[Event]]) -> list[Envelope[Event]]:
        """Insert the inbox rows; returns the envelopes that were not there before."""
        if not envelopes:
            return []
        now = self._db.world.now()
        # Sorted, so that two copies noting the same events wait for one another and never in a circle.
        rows = [(event_id, now) for event_id in sorted(envelope.id for envelope in envelopes)]
        new = set((await session.scalars(_NOTE, arrays(_NOTED, rows))).all())
        return [envelope for envelope in envelopes if envelope.id in new]

    async def _hold_back(self, session: AsyncSession, envelopes: Sequence[Envelope[Event]]) -> list[Envelope[Event]]:
        """Park the envelopes about things that wait for a retry; returns the others."""
        waiting = await held(session, {envelope.partitionkey for envelope in envelopes})
        if not waiting:
            return list(envelopes)
        behind = [envelope for envelope in envelopes if envelope.partitionkey in waiting]
        already = await self._noted(session, behind)
        for envelope in behind:
            if envelope.id not in already:
                await _park_envelope(session, envelope, "waits behind an earlier event", pause=BEHIND_PAUSE)
        return [envelope for envelope in envelopes if envelope.partitionkey not in waiting]

    async def _noted(self, session: AsyncSession, envelopes: Sequence[Envelope[Event] | CloudEvent]) -> set[UUID]:
        if not envelopes:
            return set()
        known = select(inbox.c.event_id).where(inbox.c.event_id.in_([envelope.id for envelope in envelopes]))
        return set((await session.scalars(known)).all())

    async def _park(self, envelope: Envelope[Event], error: Exception) -> None:
        self.failures += 1
        log.warning("event_parked", type=envelope.type, event_id=str(envelope.id), cause=repr(error))
        async with self._db.transaction() as session:
            await _park_envelope(session, envelope, repr(error), attempts=1)

    async def _leave_to_another_release(self, wire: CloudEvent, document: str) -> None:
        log.warning("event_not_of_this_release", type=wire.type, event_id=str(wire.id))
        async with self._db.transaction() as session:
            if not await self._noted(session, [wire]):
                await park(session, wire.id, wire.type, wire.partitionkey, document, "no handler in this release")

    async def _bury(self, document: str, cause: str) -> None:
        async with self._db.transaction() as session:
            await bury(session, document, cause)

    async def run_retries(self) -> None:
        """Try parked events again as they come due, until cancelled."""
        while True:
            try:
                tried = await self.retry_due()
            except Exception as error:
                log.warning("retries_interrupted", cause=repr(error))
                tried = 0
            if not tried:
                await asyncio.sleep(RETRY_POLL_S)

    async def retry_due(self) -> int:
        """Try each thing's oldest parked event if it is due; returns how many were tried."""
        # What was buried and is replayed has waited already: any release may try to read it.
        kinds = parked.c.type.in_([*self._handlers, UNREADABLE])
        mine = or_(kinds, parked.c.parked_at <= self._db.world.now() - WAIT_FOR_RELEASE)
        async with self._db.transaction() as session:
            ids = await due(session, mine)
        for row_id in ids:
            await self._retry(row_id)
        return len(ids)

    async def _retry(self, row_id: int) -> None:
        try:
            async with self._db.transaction() as session:
                # Still due: another copy may have tried it since.
                still = parked.c.state == "retry", parked.c.next_at <= self._db.world.now()
                mine = select(parked.c.document, parked.c.partition_key).where(parked.c.id == row_id, *still)
                row = (await session.execute(mine.with_for_update(skip_locked=True))).one_or_none()
                if row is None:
                    return
                envelope = self._parse(row.document)
                for fresh in await self._note(session, [envelope]):
                    await _handle(session, self._handlers[fresh.type], [fresh])
                await session.execute(delete(parked).where(parked.c.id == row_id))
                # Not the envelope's: what was buried was given a key before anybody had read it.
                await let_next_follow(session, row.partition_key)
            self.handled[envelope.type] += 1
        except Exception as error:
            if is_nobodys_fault(error):
                raise
            self.failures += 1
            async with self._db.transaction() as session:
                await count_attempt(session, row_id, error)


async def _handle(session: AsyncSession, handler: Handler, envelopes: Sequence[Envelope[Any]]) -> None:
    """Apply the events within the traces of those who told them."""
    with together(f"handle {envelopes[0].type}", [envelope.traceparent for envelope in envelopes], SpanKind.CONSUMER):
        await handler(session, envelopes)
        await session.flush()


async def _park_envelope(
    session: AsyncSession,
    envelope: Envelope[Event],
    cause: str,
    *,
    attempts: int = 0,
    pause: timedelta | None = None,
) -> None:
    what = envelope.id, envelope.type, envelope.partitionkey, envelope.to_json()
    await park(session, *what, cause, attempts=attempts, pause=pause)


def is_nobodys_fault(error: Exception) -> bool:
    """Whether the event would have failed whatever it is: no attempt counts, it stays where it is until later."""
    return is_down(error) or is_lock_timeout(error)


async def forget_old_events(session: AsyncSession, world_now: datetime) -> None:
    """Delete inbox rows older than `KEEP_INBOX_DAYS`; no bus holds a letter that long."""
    await session.execute(delete(inbox).where(inbox.c.received_at < world_now - timedelta(days=KEEP_INBOX_DAYS)))


def by_sequence(envelopes: Sequence[Envelope[Any]]) -> Iterator[Envelope[Any]]:
    """The highest version of each thing among the envelopes: what a copied row has to take over.

    In the order of the things' ids, so that two copies of a service wait for one another and never in a circle.
    """
    newest: dict[str, Envelope[Any]] = {}
    for envelope in envelopes:
        known = newest.get(envelope.partitionkey)
        if known is None or known.sequence < envelope.sequence:
            newest[envelope.partitionkey] = envelope
    for key in sorted(newest):
        yield newest[key]
