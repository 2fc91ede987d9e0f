"""Registration with an area (双报到): people where they live and where they work, organisations where they serve."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.audit import note
from chassis.db import world_of
from chassis.errors import InvalidInput, NotFound
from chassis.outbox import emit
from chassis.tokens import Principal
from contracts.members import RegistrationChanged
from services.members.areas import existing_area, subtree
from services.members.models import Registration
from services.members.organisations import existing_organisation, require_admin
from services.members.people import require_account
from services.members.turns import take_turn

RegistrationKind = Literal["residence", "work"]


async def register_myself(
    session: AsyncSession, principal: Principal, *, area_id: UUID, organisation_id: UUID | None, kind: RegistrationKind
) -> tuple[Registration, bool]:
    """Register with an area, naming one's unit or none. True: it is new."""
    person = await require_account(session, principal, stays=True)
    await existing_area(session, area_id)
    if organisation_id is not None:
        await existing_organisation(session, organisation_id)
    return await register_person_with_area(session, person.id, area_id, organisation_id, kind)


async def register_person_with_area(
    session: AsyncSession, person_id: UUID, area_id: UUID, organisation_id: UUID | None, kind: RegistrationKind
) -> tuple[Registration, bool]:
    """The person's registration with the area, active; a unit named later is taken over. True: it is new."""
    await take_turn(session, "registration", person_id, area_id)
    same = select(Registration).where(Registration.person_id == person_id, Registration.area_id == area_id)
    known = await session.scalar(same)
    if known is not None and known.status == "active":
        if organisation_id is not None and (known.organisation_id, known.kind) != (organisation_id, kind):
            known.organisation_id, known.kind = organisation_id, kind
            known.version += 1
            _tell(session, known)
        return known, False
    registration = known or _add(session, "person", area_id, kind, person_id=person_id)
    registration.organisation_id, registration.kind = organisation_id, kind
    _activate(session, registration)
    return registration, True


async def register_organisation_with_area(
    session: AsyncSession, principal: Principal, *, area_id: UUID, organisation_id: UUID | None, kind: RegistrationKind
) -> tuple[Registration, bool]:
    """Register an organisation with an area, by its admin or a coordinator of the area. True: it is new."""
    await existing_area(session, area_id)
    if organisation_id is None:
        raise InvalidInput(("body.organisation_id", "missing", {}))
    organisation = await existing_organisation(session, organisation_id)
    await require_admin(session, principal, organisation.id, area_id)
    await take_turn(session, "registration", organisation.id, area_id)
    same = select(Registration).where(
        Registration.subject == "organisation",
        Registration.organisation_id == organisation.id,
        Registration.area_id == area_id,
    )
    known = await session.scalar(same)
    if known is not None and known.status == "active":
        return known, False
    registration = known or _add(session, "organisation", area_id, kind, organisation_id=organisation.id)
    registration.kind = kind
    _activate(session, registration)
    note(session, principal.person_id, "register_organisation_with_area", organisation.id, area_id=area_id)
    return registration, True


async def leave_area(session: AsyncSession, principal: Principal, registration_id: UUID) -> None:
    """End a registration, one's own or that of an organisation one speaks for; one that has ended stays as it is."""
    registration = await session.get(Registration, registration_id, with_for_update=True)
    if registration is None:
        raise NotFound()
    if registration.person_id is None and registration.organisation_id is not None:
        await require_admin(session, principal, registration.organisation_id, registration.area_id)
    elif registration.person_id != principal.person_id:
        raise NotFound()
    if registration.status == "left":
        return
    registration.status = "left"
    registration.version += 1
    if registration.subject == "organisation":
        note(session, principal.person_id, "take_organisation_from_area", registration.id)
    _tell(session, registration)


async def registrations_of(session: AsyncSession, person_id: UUID) -> list[Registration]:
    """The areas somebody is registered with, newest first."""
    active = select(Registration).where(Registration.person_id == person_id, Registration.status == "active")
    return list((await session.scalars(active.order_by(Registration.id.desc()))).all())


async def count_registrations(session: AsyncSession, area_id: UUID) -> tuple[int, int]:
    """How many people and how many organisations are registered in the area's subtree, each counted once."""
    active = Registration.status == "active"
    counts = select(
        func.count(Registration.person_id.distinct()).filter(Registration.subject == "person"),
        func.count(Registration.organisation_id.distinct()).filter(Registration.subject == "organisation"),
    ).where(active, Registration.area_id.in_(subtree(area_id)))
    people, organisations = (await session.execute(counts)).one()
    return people, organisations


def _add(
    session: AsyncSession,
    subject: Literal["person", "organisation"],
    area_id: UUID,
    kind: str,
    *,
    person_id: UUID | None = None,
    organisation_id: UUID | None = None,
) -> Registration:
    registration = Registration(
        id=world_of(session).new_id(),
        subject=subject,
        person_id=person_id,
        organisation_id=organisation_id,
        area_id=area_id,
        kind=kind,
        version=0,
    )
    session.add(registration)
    return registration


def _activate(session: AsyncSession, registration: Registration) -> None:
    registration.status = "active"
    registration.registered_at = world_of(session).now()
    registration.version += 1
    _tell(session, registration)


def _tell(session: AsyncSession, registration: Registration) -> None:
    fact = RegistrationChanged.model_validate(
        {
            "registration_id": registration.id,
            "subject": registration.subject,
            "person_id": registration.person_id,
            "organisation_id": registration.organisation_id,
            "area_id": registration.area_id,
            "status": registration.status,
        }
    )
    emit(session, fact, sequence=registration.version)
