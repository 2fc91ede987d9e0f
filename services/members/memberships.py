"""Memberships: a person asks to join an organisation, somebody who speaks for it confirms."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Row, Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.audit import note
from chassis.db import world_of
from chassis.errors import NotFound
from chassis.outbox import emit
from chassis.tokens import Principal
from contracts.members import MembershipConfirmed, MembershipRequested
from services.members.models import Membership, Organisation, Person
from services.members.organisations import require_admin
from services.members.people import require_account
from services.members.turns import take_turn


async def request_membership(
    session: AsyncSession, principal: Principal, organisation_id: UUID
) -> tuple[Membership, bool]:
    """Ask to join, for oneself; the membership there is, requested or confirmed, stays as it is. True: it is new."""
    person = await require_account(session, principal, stays=True)
    await _organisation(session, organisation_id)
    await take_turn(session, "membership", person.id, organisation_id)
    known = await session.scalar(_of(organisation_id, person.id))
    if known is not None:
        return known, False
    world = world_of(session)
    membership = Membership(
        id=world.new_id(),
        organisation_id=organisation_id,
        person_id=person.id,
        status="requested",
        requested_at=world.now(),
        version=1,
    )
    session.add(membership)
    fact = MembershipRequested(membership_id=membership.id, organisation_id=organisation_id, person_id=person.id)
    emit(session, fact, sequence=membership.version)
    return membership, True


async def confirm_membership(
    session: AsyncSession, principal: Principal, organisation_id: UUID, person_id: UUID
) -> Membership:
    """Confirm who asked to join, by the organisation's admin or a coordinator of its area; NotFound for others."""
    organisation = await _organisation(session, organisation_id)
    await require_admin(session, principal, organisation.id, organisation.area_id)
    membership = await session.scalar(_of(organisation_id, person_id).with_for_update())
    if membership is None:
        raise NotFound()
    if membership.status == "requested":
        membership.status = "confirmed"
        membership.confirmed_at = world_of(session).now()
        membership.version += 1
        fact = MembershipConfirmed(membership_id=membership.id, organisation_id=organisation_id, person_id=person_id)
        emit(session, fact, sequence=membership.version)
        note(session, principal.person_id, "confirm_membership", person_id, organisation_id=organisation_id)
    return membership


async def list_members(
    session: AsyncSession,
    principal: Principal,
    organisation_id: UUID,
    *,
    status: str | None,
    before: UUID | None,
    limit: int,
) -> Sequence[Row[Membership, str]]:
    """Memberships of an organisation with the people's names, newest first, for those who may confirm them."""
    organisation = await _organisation(session, organisation_id)
    await require_admin(session, principal, organisation.id, organisation.area_id)
    query = (
        select(Membership, Person.display_name)
        .join(Person, Person.id == Membership.person_id)
        .where(Membership.organisation_id == organisation_id)
        .order_by(Membership.id.desc())
        .limit(limit)
    )
    if status is not None:
        query = query.where(Membership.status == status)
    if before is not None:
        query = query.where(Membership.id < before)
    return (await session.execute(query)).all()


async def memberships_of(session: AsyncSession, person_id: UUID) -> list[Membership]:
    """Somebody's memberships, asked for and confirmed, newest first."""
    mine = select(Membership).where(Membership.person_id == person_id).order_by(Membership.id.desc())
    return list((await session.scalars(mine)).all())


async def _organisation(session: AsyncSession, organisation_id: UUID) -> Organisation:
    organisation = await session.get(Organisation, organisation_id)
    if organisation is None:
        raise NotFound()
    return organisation


def _of(organisation_id: UUID, person_id: UUID) -> Select[Membership]:
    return select(Membership).where(Membership.organisation_id == organisation_id, Membership.person_id == person_id)
