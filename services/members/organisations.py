"""Organisations: branches, companies, social organisations, government units and merchants, each of one area."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from chassis import scopes
from chassis.audit import note
from chassis.db import world_of
from chassis.errors import Forbidden, InvalidInput
from chassis.outbox import emit
from chassis.tokens import Principal
from contracts.members import OrganisationRegistered
from services.members.areas import existing_area, subtree
from services.members.models import Organisation

OrganisationKind = Literal["branch", "company", "social_organisation", "government_unit", "merchant"]


async def register_organisation(
    session: AsyncSession,
    principal: Principal,
    *,
    area_id: UUID,
    name: str,
    name_en: str | None,
    kind: OrganisationKind,
) -> Organisation:
    """Put an organisation on record, by a coordinator of its area."""
    await existing_area(session, area_id)
    await scopes.require(session, principal, area_id, "coordinator", "operator")
    organisation = Organisation(
        id=world_of(session).new_id(), area_id=area_id, name=name, name_en=name_en, kind=kind, version=1
    )
    session.add(organisation)
    fact = OrganisationRegistered(organisation_id=organisation.id, area_id=area_id, kind=kind, name=name)
    emit(session, fact, sequence=organisation.version)
    note(session, principal.person_id, "register_organisation", organisation.id)
    return organisation


async def existing_organisation(
    session: AsyncSession, organisation_id: UUID, field: str = "body.organisation_id"
) -> Organisation:
    """The organisation that a field of a request names; InvalidInput for that field when there is none."""
    organisation = await session.get(Organisation, organisation_id)
    if organisation is None:
        raise InvalidInput((field, "exists", {"thing": "organisation"}))
    return organisation


async def require_admin(session: AsyncSession, principal: Principal, organisation_id: UUID, area_id: UUID) -> None:
    """Raise Forbidden unless the person speaks for the organisation, or coordinates this area."""
    if principal.has_for_organisation(organisation_id, "organisation_admin"):
        return
    if not await scopes.covers(session, principal, area_id, "coordinator", "operator"):
        raise Forbidden()


async def list_organisations(
    session: AsyncSession, *, area_id: UUID | None, kind: str | None, q: str | None, before: UUID | None, limit: int
) -> list[Organisation]:
    """Organisations, newest first, of an area's subtree, of one kind, or with a text in their name."""
    query = select(Organisation).order_by(Organisation.id.desc()).limit(limit)
    if area_id is not None:
        query = query.where(Organisation.area_id.in_(subtree(area_id)))
    if kind is not None:
        query = query.where(Organisation.kind == kind)
    if q is not None:
        named = Organisation.name.icontains(q, autoescape=True)
        query = query.where(or_(named, Organisation.name_en.icontains(q, autoescape=True)))
    if before is not None:
        query = query.where(Organisation.id < before)
    return list((await session.scalars(query)).all())
