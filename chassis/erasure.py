"""Erasing a person, in every service, when members says so.

The rows are erased with the fact that tells of it (`chassis.personal`), tokens are cut off, and events about the person
that wait here or are dead letters lose the words in them. A request that was under way, or an event that came late, may
still write something: so each erasure is swept again, at growing intervals, and then daily for good: a dead letter may
be replayed at any time, here or in a service whose events come here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import structlog
from sqlalchemy import Table, delete, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.audit import note
from chassis.cutoffs import Cutoffs
from chassis.db import Database, is_down, world_of
from chassis.inbox import Handlers
from chassis.personal import Personal, erase_rows
from chassis.tables import erasures, outbox, parked
from chassis.tokens import ACCESS_TOKEN_S
from contracts.event import EVENT_TYPES, Envelope
from contracts.members import PersonErased

SWEEP_POLL_S = 5
# After the erasure, and after each sweep; the last is also the pause between all that follow.
SWEEP_AFTER = tuple(timedelta(seconds=seconds) for seconds in (10, 60, 600, 7200, 86400))
# A sweep that failed is tried again after this time.
SWEEP_FAILED_PAUSE = timedelta(hours=1)

log = structlog.get_logger(__name__)


class Erasure:
    """One service's erasures."""

    def __init__(self, db: Database, personal: Personal, cutoffs: Cutoffs) -> None:
        self._db = db
        self._personal = personal
        self._cutoffs = cutoffs

    def handlers(self) -> Handlers:
        """What every service listens to for the sake of those who leave."""
        return {PersonErased: self._follow}

    async def _follow(self, session: AsyncSession, envelopes: Sequence[Envelope[PersonErased]]) -> None:
        """Handler: erase whom members has erased."""
        for envelope in envelopes:
            await self.erase(session, envelope.data.person_id, envelope.time)

    async def erase(self, session: AsyncSession, person_id: UUID, at: datetime) -> None:
        """Erase what this service holds about the person, refuse their tokens, and sweep again later."""
        await self._cutoffs.cut(session, person_id, at + timedelta(seconds=ACCESS_TOKEN_S))
        await self._erase(session, person_id)
        first = {"person_id": person_id, "erased_at": at, "sweeps": 0, "next_at": at + SWEEP_AFTER[0]}
        new = insert(erasures).values(first).on_conflict_do_nothing().returning(erasures.c.person_id)
        if await session.scalar(new) is not None:
            note(session, "system", "erase_person", person_id)

    async def sweep_due(self) -> None:
        """Erase once more whoever's turn it is; safe to do twice at once."""
        while await self._sweep_next():
            pass

    async def _sweep_next(self) -> bool:
        """Sweep who has been due longest, in a transaction of their own; returns whether anybody was due.

        One whose sweep fails is put off, so that the others have their turn.
        """
        person_id: UUID | None = None
        try:
            async with self._db.transaction() as session:
                now = world_of(session).now()
                # None: an earlier release stopped after so many sweeps.
                due = or_(erasures.c.next_at <= now, erasures.c.next_at.is_(None))
                first = select(erasures).where(due).order_by(erasures.c.next_at).limit(1)
                row = (await session.execute(first.with_for_update(skip_locked=True))).one_or_none()
                if row is None:
                    return False
                person_id = row.person_id
                await self._erase(session, row.person_id)
                sweeps = row.sweeps + 1
                next_at = now + SWEEP_AFTER[min(sweeps, len(SWEEP_AFTER) - 1)]
                await _set_erasure(session, row.person_id, sweeps=sweeps, next_at=next_at)
        except Exception as error:
            if person_id is None or is_down(error):
                raise
            log.error("sweep_failed", person_id=str(person_id), cause=repr(error))
            async with self._db.transaction() as session:
                await _set_erasure(session, person_id, next_at=world_of(session).now() + SWEEP_FAILED_PAUSE)
        return True

    async def _erase(self, session: AsyncSession, person_id: UUID) -> None:
        await erase_rows(session, self._personal, person_id)
        for table in (outbox, parked):
            await _empty_documents(session, table, person_id)


async def _set_erasure(session: AsyncSession, person_id: UUID, **values: object) -> None:
    await session.execute(update(erasures).where(erasures.c.person_id == person_id).values(**values))


async def _empty_documents(session: AsyncSession, table: Table, person_id: UUID) -> None:
    """Take the words out of the table's events about the person; one that nobody can read is deleted."""
    about = select(table.c.id, table.c.document).where(table.c.document.contains(str(person_id)))
    for row in (await session.execute(about.with_for_update())).all():
        emptied = without_words(row.document)
        if emptied is None:
            log.warning("unreadable_event_erased", table=table.name)
            await session.execute(delete(table).where(table.c.id == row.id))
        elif emptied != row.document:
            cause = {"cause": "its person was erased", "reason": None} if table is parked else {}
            await session.execute(update(table).where(table.c.id == row.id).values(document=emptied, **cause))


def without_words(document: str) -> str | None:
    """The event without what somebody wrote in their own words (`Event.own_words`); None when it is not an event."""
    try:
        wire: dict[str, Any] = orjson.loads(document)
        kind = EVENT_TYPES.get(wire["type"])
        words = {name: "" for name in kind.own_words if name in wire["data"]} if kind else {}
    except (ValueError, TypeError, LookupError):
        return None
    return orjson.dumps({**wire, "data": {**wire["data"], **words}}).decode() if words else document
