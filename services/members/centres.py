"""Centres: where an area's people are received, and rewards are collected."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from chassis import scopes
from chassis.audit import note
from chassis.db import world_of
from chassis.outbox import emit
from chassis.tokens import Principal
from contracts.members import CentreOpened
from services.members.areas import existing_area, subtree
from services.members.models import Centre


async def open_centre(
    session: AsyncSession, principal: Principal, *, area_id: UUID, name: str, name_en: str | None, address: str
) -> Centre:
    """Open a centre, by a coordinator of its area."""
    await existing_area(session, area_id)
    await scopes.require(session, principal, area_id, "coordinator", "operator")
    centre = Centre(
        id=world_of(session).new_id(), area_id=area_id, name=name, name_en=name_en, address=address, version=1
    )
    session.add(centre)
    fact = CentreOpened(centre_id=centre.id, area_id=area_id, name=name, address=address)
    emit(session, fact, sequence=centre.version)
    note(session, principal.person_id, "open_centre", centre.id)
    return centre


async def list_centres(session: AsyncSession, *, area_id: UUID | None, before: UUID | None, limit: int) -> list[Centre]:
    """Centres, newest first, of an area's subtree."""
    query = select(Centre).order_by(Centre.id.desc()).limit(limit)
    if area_id is not None:
        query = query.where(Centre.area_id.in_(subtree(area_id)))
    if before is not None:
        query = query.where(Centre.id < before)
    return list((await session.scalars(query)).all())
