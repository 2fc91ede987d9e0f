"""What coordinators and operators do for others: desk sign-up, staff accounts, roles."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Response
from pydantic import StringConstraints

from chassis.api import Api, Body, Db, Page, Paging, page
from chassis.auth import CurrentPrincipal, roles
from chassis.i18n import DEFAULT_LOCALE, Locale
from services.members.api.inputs import Name
from services.members.desk import sign_up_person
from services.members.parts import CurrentParts
from services.members.phones import Phone
from services.members.roles import grant_role, list_roles, revoke_role
from services.members.staff import add_staff
from services.members.views import PersonView, RoleName, RoleView, StaffView

PASSWORD_MIN_CHARACTERS = 12
PASSWORD_MAX_CHARACTERS = 200

Username = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{2,63}$")]
NewPassword = Annotated[str, StringConstraints(min_length=PASSWORD_MIN_CHARACTERS, max_length=PASSWORD_MAX_CHARACTERS)]

api = Api("staff")


class NewPerson(Body):
    """Somebody at the desk of the area."""

    display_name: Name
    phone: Phone | None = None
    area_id: UUID
    locale: Locale = DEFAULT_LOCALE


class NewStaff(Body):
    """Usernames do not tell upper from lower case."""

    username: Username
    password: NewPassword
    display_name: Name


class NewRole(Body):
    """organisation_admin names an organisation, operator nothing, every other role an area."""

    person_id: UUID
    role: RoleName
    area_id: UUID | None = None
    organisation_id: UUID | None = None


@api.post(
    "/people",
    policy=roles("operator", "coordinator"),
    status_code=201,
    responses={200: {"model": PersonView, "description": "Somebody has this phone already"}},
)
async def post_person(
    body: NewPerson, principal: CurrentPrincipal, db: Db, parts: CurrentParts, response: Response
) -> PersonView:
    """Sign somebody up at the desk of an area, with a phone or without one."""
    async with db.transaction() as session:
        person, is_new = await sign_up_person(
            session,
            parts.vault,
            principal,
            area_id=body.area_id,
            display_name=body.display_name,
            phone=body.phone,
            locale=body.locale,
        )
    response.status_code = 201 if is_new else 200
    return PersonView(person_id=person.id, display_name=person.display_name)


@api.post("/staff", policy=roles("operator"), status_code=201)
async def post_staff(body: NewStaff, principal: CurrentPrincipal, db: Db, parts: CurrentParts) -> StaffView:
    """An account with a password. It may do nothing until it is granted a role."""
    async with parts.passwords.slot():
        password_hash = await parts.passwords.hash(body.password)
    async with db.transaction() as session:
        account = await add_staff(
            session,
            principal.person_id,
            username=body.username,
            password_hash=password_hash,
            display_name=body.display_name,
        )
    return StaffView(person_id=account.person_id, username=account.username)


@api.get("/roles", policy=roles("operator", "coordinator"))
async def get_roles(
    principal: CurrentPrincipal, db: Db, paging: Paging, person_id: UUID | None = None
) -> Page[RoleView]:
    """Roles that are held, newest first; a coordinator sees those within their own areas."""
    before = paging.after_id()
    async with db.transaction() as session:
        rows = await list_roles(session, principal, person_id=person_id, before=before, limit=paging.limit + 1)
    shown, cursor = page(rows, paging.limit, lambda role: (role.id,))
    return Page(items=[RoleView.model_validate(role) for role in shown], next_cursor=cursor)


@api.post(
    "/roles",
    policy=roles("operator", "coordinator"),
    status_code=201,
    responses={200: {"model": RoleView, "description": "Held already"}},
)
async def post_role(body: NewRole, principal: CurrentPrincipal, db: Db, response: Response) -> RoleView:
    """Grant a role. It is in the person's next access token."""
    async with db.transaction() as session:
        role, is_new = await grant_role(
            session,
            principal,
            person_id=body.person_id,
            role=body.role,
            area_id=body.area_id,
            organisation_id=body.organisation_id,
        )
    response.status_code = 201 if is_new else 200
    return RoleView.model_validate(role)


@api.delete("/roles/{role_id}", policy=roles("operator", "coordinator"), status_code=204)
async def delete_role(role_id: UUID, principal: CurrentPrincipal, db: Db) -> None:
    """Revoke a role. Every access token that the person has is refused as soon as the fact arrives."""
    async with db.transaction() as session:
        await revoke_role(session, principal, role_id)
