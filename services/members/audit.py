"""The audit: one row for each admin action and each unmasked read, never changed or deleted."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from chassis.db import world_of
from services.members.models import AuditEntry


def note(session: AsyncSession, actor: UUID | str, action: str, subject_id: UUID, **detail: object) -> None:
    """Add a row, in the transaction of what it tells. `detail` holds ids and words, never a contact or a name."""
    world = world_of(session)
    row = AuditEntry(
        id=world.new_id(),
        at=world.now(),
        actor=str(actor),
        action=action,
        subject_id=subject_id,
        detail={key: None if value is None else str(value) for key, value in detail.items()},
    )
    session.add(row)
