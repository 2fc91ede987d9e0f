"""The idempotent inbox: an event's effect and the note that it was had commit together, so it is had once.

What fails is a row too: `parked` keeps the event, tries it again with growing pauses, and after `ATTEMPTS_MAX` keeps it
as a dead letter. Later events about the same thing queue behind it; nothing else does. While this service's own
database is down nothing is decided and no attempt is counted: the bus keeps the letter.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import groupby
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import structlog
from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.db import Database, is_down, is_transient
from chassis.tables import inbox, parked
from contracts.event import Envelope, Event, parse

ATTEMPTS_MAX = 6
QUICK_ATTEMPTS = 3
RETRY_PAUSE_S = (1, 5, 15, 60, 300)
RETRY_POLL_S = 0.5
RETRY_BATCH_MAX = 50
KEEP_INBOX_DAYS = 14

# A handler applies events of one type, in order of arrival, in the transaction it is given.
Handler = Callable[[AsyncSession, Sequence[Envelope[Any]]], Awaitable[None]]
Handlers = Mapping[type[Event], Handler]

log = structlog.get_logger(__name__)


class Inbox:
    """What a service hears: applies each event once through the service's handlers."""

    def __init__(self, db: Database, handlers: Handlers) -> None:
        self._db = db
        self._handlers = {kind.type: handler for kind, handler in handlers.items()}

    async def receive(self, documents: Sequence[str]) -> None:
        """Return when every document's effect or its row in `parked` has committed; raise when the database is down."""
        envelopes: dict[UUID, Envelope[Event]] = {}
        for document in documents:
            try:
                envelope = parse(document)
            except ValueError as error:
                await self._bury_unreadable(document, error)
            else:
                envelopes.setdefault(envelope.id, envelope)
        if envelopes:
            await self._apply(list(envelopes.values()))

    async def _apply(self, envelopes: Sequence[Envelope[Event]]) -> None:
        try:
            await self._with_quick_retries(envelopes)
        except Exception as error:
            if is_down(error):
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
            for kind, run in groupby(fresh, key=lambda envelope: envelope.type):
                await self._handlers[kind](session, list(run))

    async def _note(self, session: AsyncSession, envelopes: Sequence[Envelope[Event]]) -> list[Envelope[Event]]:
        """Insert the inbox rows; returns the envelopes that were not there before."""
        if not envelopes:
            return []
        now = self._db.world.now()
        rows = [{"event_id": envelope.id, "received_at": now} for envelope in envelopes]
        # Sorted, so that two copies noting the same events wait for one another and never in a circle.
        rows.sort(key=lambda row: str(row["event_id"]))
        statement = insert(inbox).values(rows).on_conflict_do_nothing().returning(inbox.c.event_id)
        new = set((await session.scalars(statement)).all())
        return [envelope for envelope in envelopes if envelope.id in new]

    async def _hold_back(self, session: AsyncSession, envelopes: Sequence[Envelope[Event]]) -> list[Envelope[Event]]:
        """Park the envelopes about things that wait for a retry; returns the others."""
        keys = {envelope.partitionkey for envelope in envelopes}
        waiting = select(parked.c.partition_key).where(parked.c.state == "retry", parked.c.partition_key.in_(keys))
        held = set((await session.scalars(waiting)).all())
        behind = [envelope for envelope in envelopes if envelope.partitionkey in held]
        already = await self._noted(session, behind)
        for envelope in behind:
            if envelope.id not in already:
                await self._insert_parked(session, envelope, "waits behind an earlier event", attempts=0)
        return [envelope for envelope in envelopes if envelope.partitionkey not in held]

    async def _noted(self, session: AsyncSession, envelopes: Sequence[Envelope[Event]]) -> set[UUID]:
        if not envelopes:
            return set()
        known = select(inbox.c.event_id).where(inbox.c.event_id.in_([envelope.id for envelope in envelopes]))
        return set((await session.scalars(known)).all())

    async def _park(self, envelope: Envelope[Event], error: Exception) -> None:
        log.warning("event_parked", type=envelope.type, event_id=str(envelope.id), cause=repr(error))
        async with self._db.transaction() as session:
            await self._insert_parked(session, envelope, repr(error), attempts=1, pause_s=RETRY_PAUSE_S[0])

    async def _insert_parked(
        self, session: AsyncSession, envelope: Envelope[Event], cause: str, *, attempts: int, pause_s: float = 0
    ) -> None:
        now = self._db.world.now()
        await session.execute(
            insert(parked)
            .values(
                event_id=envelope.id,
                type=envelope.type,
                partition_key=envelope.partitionkey,
                document=envelope.to_json(),
                state="retry",
                attempts=attempts,
                next_at=now + timedelta(seconds=pause_s),
                cause=cause[:2000],
                fingerprint=fingerprint(envelope.type, cause),
                parked_at=now,
            )
            .on_conflict_do_nothing()
        )

    async def _bury_unreadable(self, document: str, error: ValueError) -> None:
        """A document that is no event of this release is a dead letter at once: a second look would not help."""
        log.error("event_unreadable", cause=type(error).__name__)
        # PostgreSQL keeps no NUL and no lone surrogate.
        document = document.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
        now = self._db.world.now()
        cause = f"unreadable: {type(error).__name__}"
        async with self._db.transaction() as session:
            await session.execute(
                insert(parked)
                .values(
                    event_id=uuid5(NAMESPACE_URL, document),
                    type="unreadable",
                    partition_key="unreadable",
                    document=document,
                    state="dead",
                    attempts=ATTEMPTS_MAX,
                    next_at=now,
                    cause=cause,
                    fingerprint=fingerprint("unreadable", cause),
                    parked_at=now,
                )
                .on_conflict_do_nothing()
            )

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
        oldest = select(func.min(parked.c.id)).where(parked.c.state == "retry").group_by(parked.c.partition_key)
        due = (
            select(parked.c.id)
            .where(parked.c.id.in_(oldest), parked.c.next_at <= self._db.world.now())
            .order_by(parked.c.id)
            .limit(RETRY_BATCH_MAX)
        )
        async with self._db.transaction() as session:
            ids = (await session.scalars(due)).all()
        for row_id in ids:
            await self._retry(row_id)
        return len(ids)

    async def _retry(self, row_id: int) -> None:
        try:
            async with self._db.transaction() as session:
                mine = select(parked.c.document).where(parked.c.id == row_id, parked.c.state == "retry")
                document = await session.scalar(mine.with_for_update(skip_locked=True))
                if document is None:
                    return
                envelope = parse(document)
                for fresh in await self._note(session, [envelope]):
                    await self._handlers[fresh.type](session, [fresh])
                await session.execute(delete(parked).where(parked.c.id == row_id))
        except Exception as error:
            if is_down(error):
                raise
            await self._count_attempt(row_id, error)

    async def _count_attempt(self, row_id: int, error: Exception) -> None:
        async with self._db.transaction() as session:
            found = await session.execute(select(parked.c.attempts, parked.c.type).where(parked.c.id == row_id))
            row = found.one_or_none()
            if row is None:
                return
            attempts = row.attempts + 1
            pause_s = RETRY_PAUSE_S[min(attempts, len(RETRY_PAUSE_S)) - 1]
            state = "dead" if attempts >= ATTEMPTS_MAX else "retry"
            log.log(40 if state == "dead" else 30, "event_retry_failed", type=row.type, state=state, cause=repr(error))
            await session.execute(
                update(parked)
                .where(parked.c.id == row_id)
                .values(
                    attempts=attempts,
                    state=state,
                    next_at=self._db.world.now() + timedelta(seconds=pause_s),
                    cause=repr(error)[:2000],
                    fingerprint=fingerprint(row.type, repr(error)),
                )
            )


async def forget_old_events(session: AsyncSession, world_now: Any) -> None:
    """Delete inbox rows older than `KEEP_INBOX_DAYS`; no bus holds a letter that long."""
    await session.execute(delete(inbox).where(inbox.c.received_at < world_now - timedelta(days=KEEP_INBOX_DAYS)))


def fingerprint(kind: str, cause: str) -> str:
    """Dead letters with the same type and first line of cause belong together."""
    return hashlib.sha256(f"{kind}\n{cause.splitlines()[0] if cause else ''}".encode()).hexdigest()[:16]


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
