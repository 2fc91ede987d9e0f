"""Tokens refused before they expire: after a sign-out or a revoked role, as soon as the fact has arrived.

The rows are in every service's database; each process keeps them in memory and looks for new ones every second, so that
checking a token costs no query.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import ClassVar
from uuid import UUID

import structlog
from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.db import Database, opened
from chassis.errors import Unauthenticated
from chassis.inbox import Handlers
from chassis.tables import token_cutoffs
from chassis.tokens import ACCESS_TOKEN_S, CLOCK_SKEW_S, Principal
from contracts.event import Envelope, Event
from contracts.members import RoleRevoked, SignedOut

REFRESH_S = 1.0

log = structlog.get_logger(__name__)


class Cutoffs:
    """For a person or a session: from which moment on tokens must have been issued."""

    LISTENS_TO: ClassVar[tuple[type[Event], ...]] = (RoleRevoked, SignedOut)

    def __init__(self, db: Database) -> None:
        self._db = db
        self._not_before: dict[UUID, datetime] = {}
        # Taken over since the last refresh began: its query may not have seen them.
        self._recent: dict[UUID, datetime] = {}

    def check(self, principal: Principal) -> None:
        """Raise Unauthenticated for a token that is cut off."""
        for subject in (principal.session_id, principal.person_id):
            not_before = self._not_before.get(subject)
            if not_before is not None and principal.issued_at <= not_before:
                raise Unauthenticated()

    def handlers(self) -> Handlers:
        """What every service listens to for its tokens' sake."""
        return {RoleRevoked: self._cut_person, SignedOut: self._cut_session}

    async def refresh(self) -> None:
        """Take over what is in the database."""
        self._recent = {}
        async with self._db.transaction() as session:
            rows = await session.execute(select(token_cutoffs.c.subject_id, token_cutoffs.c.not_before))
            self._not_before = {row.subject_id: row.not_before for row in rows} | self._recent

    async def run(self) -> None:
        """Refresh until cancelled."""
        while True:
            try:
                await self.refresh()
            except Exception as error:
                log.warning("cutoffs_not_refreshed", cause=repr(error))
            await asyncio.sleep(REFRESH_S)

    async def _cut_person(self, session: AsyncSession, envelopes: Sequence[Envelope[RoleRevoked]]) -> None:
        for envelope in envelopes:
            await self.cut(session, envelope.data.person_id, envelope.time)

    async def _cut_session(self, session: AsyncSession, envelopes: Sequence[Envelope[SignedOut]]) -> None:
        for envelope in envelopes:
            # A session that ended never gets another token: whatever was signed for it is refused.
            await self.cut(session, envelope.data.session_id, envelope.time + timedelta(seconds=ACCESS_TOKEN_S))

    async def cut(self, session: AsyncSession, subject_id: UUID, not_before: datetime) -> None:
        """Refuse the subject's tokens issued until `not_before`, from this transaction's commit on."""
        await session.execute(
            insert(token_cutoffs)
            .values(subject_id=subject_id, not_before=not_before)
            .on_conflict_do_update(
                index_elements=["subject_id"],
                set_={"not_before": not_before},
                where=token_cutoffs.c.not_before < not_before,
            )
        )

        def take_over() -> None:
            latest = max(not_before, self._not_before.get(subject_id, not_before))
            self._not_before[subject_id] = self._recent[subject_id] = latest

        opened(session).after_commit.append(take_over)


async def forget_old_cutoffs(session: AsyncSession, now: datetime) -> None:
    """Delete cut-offs that every token has outlived."""
    oldest = now - timedelta(seconds=2 * ACCESS_TOKEN_S + CLOCK_SKEW_S)
    await session.execute(delete(token_cutoffs).where(token_cutoffs.c.not_before < oldest))
