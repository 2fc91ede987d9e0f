"""How often a person may have all that is held about them: each time is work for every service, and in the audit."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.audit import note
from chassis.db import world_of
from chassis.tables import audit_entries
from services.members.refusals import TooManyExports
from services.members.turns import take_turn

EXPORTS_MAX = 5
WITHIN = timedelta(hours=1)
EXPORTED = "export_me"


async def count_export(session: AsyncSession, person_id: UUID) -> None:
    """Note one more export of the person; TooManyExports beyond `EXPORTS_MAX` in `WITHIN`."""
    await take_turn(session, "export", person_id)
    recent = select(func.count()).where(
        audit_entries.c.subject_id == person_id,
        audit_entries.c.action == EXPORTED,
        audit_entries.c.at > world_of(session).now() - WITHIN,
    )
    if (await session.scalar(recent) or 0) >= EXPORTS_MAX:
        raise TooManyExports()
    note(session, person_id, EXPORTED, person_id)
