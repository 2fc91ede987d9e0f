"""Oneself: who I am, where I am registered, what I belong to and may do."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from fastapi import Response
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.api import Api, Body, Db, IfMatch, Page, etag
from chassis.auth import SIGNED_IN, CurrentPrincipal
from chassis.i18n import Locale
from services.members.api.inputs import Name
from services.members.memberships import memberships_of
from services.members.models import Person
from services.members.parts import CurrentParts, Parts
from services.members.people import change_person, phone_of, require_account
from services.members.phones import mask
from services.members.registrations import (
    RegistrationKind,
    leave_area,
    register_myself,
    register_organisation_with_area,
    registrations_of,
)
from services.members.roles import roles_of
from services.members.views import MembershipView, MeView, RegistrationView, RoleView

api = Api("me")


class PersonEdit(Body):
    """A field that is left out, or null, stays as it is."""

    display_name: Name | None = None
    locale: Locale | None = None


class NewRegistration(Body):
    """For a person `organisation_id` is their unit; for an organisation, itself."""

    area_id: UUID
    organisation_id: UUID | None = None
    subject: Literal["person", "organisation"] = "person"
    kind: RegistrationKind = "residence"


@api.get("/me", policy=SIGNED_IN)
async def get_me(principal: CurrentPrincipal, db: Db, parts: CurrentParts, response: Response) -> MeView:
    async with db.transaction() as session:
        me = await _view(session, parts, await require_account(session, principal))
    response.headers.update(etag(me.version))
    return me


@api.patch("/me", policy=SIGNED_IN)
async def patch_me(
    body: PersonEdit, principal: CurrentPrincipal, db: Db, parts: CurrentParts, if_match: IfMatch, response: Response
) -> MeView:
    """Another display name or language."""
    async with db.transaction() as session:
        person = await change_person(
            session, principal.person_id, if_match, display_name=body.display_name, locale=body.locale
        )
        me = await _view(session, parts, person)
    response.headers.update(etag(me.version))
    return me


@api.get("/me/registrations", policy=SIGNED_IN)
async def get_my_registrations(principal: CurrentPrincipal, db: Db) -> Page[RegistrationView]:
    """The areas I am registered with, all on one page."""
    async with db.transaction() as session:
        rows = await registrations_of(session, principal.person_id)
    return Page(items=[RegistrationView.model_validate(row) for row in rows])


@api.post(
    "/registrations",
    policy=SIGNED_IN,
    status_code=201,
    responses={200: {"model": RegistrationView, "description": "Registered before"}},
)
async def post_registration(
    body: NewRegistration, principal: CurrentPrincipal, db: Db, response: Response
) -> RegistrationView:
    """Register with an area, oneself or an organisation that one speaks for."""
    register = register_myself if body.subject == "person" else register_organisation_with_area
    async with db.transaction() as session:
        registration, is_new = await register(
            session, principal, area_id=body.area_id, organisation_id=body.organisation_id, kind=body.kind
        )
    response.status_code = 201 if is_new else 200
    return RegistrationView.model_validate(registration)


@api.delete("/registrations/{registration_id}", policy=SIGNED_IN, status_code=204)
async def delete_registration(registration_id: UUID, principal: CurrentPrincipal, db: Db) -> None:
    """Leave an area."""
    async with db.transaction() as session:
        await leave_area(session, principal, registration_id)


async def _view(session: AsyncSession, parts: Parts, person: Person) -> MeView:
    phone = await phone_of(session, parts.vault, person.id)
    return MeView.model_validate(
        {
            "id": person.id,
            "display_name": person.display_name,
            "phone": mask(phone) if phone else None,
            "locale": person.locale,
            "registrations": [
                RegistrationView.model_validate(row) for row in await registrations_of(session, person.id)
            ],
            "memberships": [MembershipView.model_validate(row) for row in await memberships_of(session, person.id)],
            "roles": [RoleView.model_validate(row) for row in await roles_of(session, person.id)],
            "version": person.version,
        }
    )
