"""The audit: one row for each admin action and each unmasked read, which the application's role adds and never changes.

    note(session, principal.person_id, "publish_product", product.id)

Every service keeps its own; operators read it at `/services/{name}/audit-entries`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, ConfigDict
from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.api import Api, Db, Page, Paging, page
from chassis.auth import roles
from chassis.db import opened
from chassis.tables import audit_entries


class AuditEntryView(BaseModel):
    """Who did what to whom or what. `actor` is a person's id, a service's name, or `system`."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    at: datetime
    actor: str
    action: str
    subject_id: UUID
    detail: dict[str, str | None]


def note(session: AsyncSession, actor: UUID | str, action: str, subject_id: UUID, **detail: object) -> None:
    """Add a row, in the transaction of what it tells. `detail` holds ids and words of ours, never what somebody wrote,
    a contact or a name: the row outlives the people it is about."""
    transaction = opened(session)
    transaction.audit_rows.append(
        {
            "id": transaction.world.new_id(),
            "at": transaction.world.now(),
            "actor": str(actor),
            "action": action,
            "subject_id": subject_id,
            "detail": {key: None if value is None else str(value) for key, value in detail.items()},
        }
    )


def audit_api(service_name: str) -> Api:
    """The route by which operators read one service's audit."""
    api = Api("audit")

    @api.get(f"/services/{service_name}/audit-entries", policy=roles("operator"))
    async def get_audit_entries(
        db: Db, paging: Paging, subject: Annotated[UUID | None, Query()] = None
    ) -> Page[AuditEntryView]:
        """What had to be answered for, newest first; `subject` is the person or thing that it was done to."""
        before = paging.after_id()
        async with db.transaction() as session:
            rows = await list_entries(session, subject=subject, before=before, limit=paging.limit + 1)
        shown, cursor = page(rows, paging.limit, lambda row: (row.id,))
        return Page(items=[AuditEntryView.model_validate(row) for row in shown], next_cursor=cursor)

    return api


async def list_entries(
    session: AsyncSession, *, subject: UUID | None = None, before: UUID | None = None, limit: int
) -> Sequence[Row[Any]]:
    """Entries, newest first."""
    entries = select(audit_entries).order_by(audit_entries.c.id.desc()).limit(limit)
    if subject is not None:
        entries = entries.where(audit_entries.c.subject_id == subject)
    if before is not None:
        entries = entries.where(audit_entries.c.id < before)
    return (await session.execute(entries)).all()
