"""Organisations and their members."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from fastapi import Response

from chassis.api import Api, Body, Db, Page, Paging, page
from chassis.auth import PUBLIC, SIGNED_IN, CurrentPrincipal, roles
from chassis.errors import NotFound
from services.members.api.inputs import Name, SearchText
from services.members.memberships import confirm_membership, list_members, request_membership
from services.members.models import Organisation
from services.members.organisations import OrganisationKind, list_organisations, register_organisation
from services.members.views import MembershipView, OrganisationMemberView, OrganisationView

api = Api("organisations")


class NewOrganisation(Body):
    """An organisation at home in the area."""

    area_id: UUID
    name: Name
    name_en: Name | None = None
    kind: OrganisationKind


@api.get("/organisations", policy=PUBLIC)
async def get_organisations(
    db: Db,
    paging: Paging,
    area_id: UUID | None = None,
    kind: OrganisationKind | None = None,
    q: SearchText | None = None,
) -> Page[OrganisationView]:
    """Organisations, newest first; `area_id` stands for its whole subtree."""
    before = paging.after_id()
    async with db.transaction() as session:
        rows = await list_organisations(session, area_id=area_id, kind=kind, q=q, before=before, limit=paging.limit + 1)
    shown, cursor = page(rows, paging.limit, lambda organisation: (organisation.id,))
    return Page(items=[OrganisationView.model_validate(row) for row in shown], next_cursor=cursor)


@api.post("/organisations", policy=roles("operator", "coordinator"), status_code=201)
async def post_organisation(body: NewOrganisation, principal: CurrentPrincipal, db: Db) -> OrganisationView:
    """Put an organisation on record in an area."""
    async with db.transaction() as session:
        organisation = await register_organisation(
            session, principal, area_id=body.area_id, name=body.name, name_en=body.name_en, kind=body.kind
        )
    return OrganisationView.model_validate(organisation)


@api.get("/organisations/{organisation_id}", policy=PUBLIC)
async def get_organisation(organisation_id: UUID, db: Db) -> OrganisationView:
    async with db.transaction() as session:
        organisation = await session.get(Organisation, organisation_id)
    if organisation is None:
        raise NotFound()
    return OrganisationView.model_validate(organisation)


@api.get("/organisations/{organisation_id}/members", policy=SIGNED_IN)
async def get_members(
    organisation_id: UUID,
    principal: CurrentPrincipal,
    db: Db,
    paging: Paging,
    status: Literal["requested", "confirmed"] | None = None,
) -> Page[OrganisationMemberView]:
    """The organisation's members and who asks to be one, for those who may confirm them."""
    before = paging.after_id()
    async with db.transaction() as session:
        rows = await list_members(
            session, principal, organisation_id, status=status, before=before, limit=paging.limit + 1
        )
    members = [
        OrganisationMemberView(**MembershipView.model_validate(membership).model_dump(), display_name=name)
        for membership, name in rows
    ]
    shown, cursor = page(members, paging.limit, lambda member: (member.id,))
    return Page(items=list(shown), next_cursor=cursor)


@api.post(
    "/organisations/{organisation_id}/members",
    policy=SIGNED_IN,
    status_code=201,
    responses={200: {"model": MembershipView, "description": "Asked before"}},
)
async def post_membership(
    organisation_id: UUID, principal: CurrentPrincipal, db: Db, response: Response
) -> MembershipView:
    """Ask to join, for oneself."""
    async with db.transaction() as session:
        membership, is_new = await request_membership(session, principal, organisation_id)
    response.status_code = 201 if is_new else 200
    return MembershipView.model_validate(membership)


@api.post("/organisations/{organisation_id}/members/{person_id}/confirm", policy=SIGNED_IN)
async def confirm_member(organisation_id: UUID, person_id: UUID, principal: CurrentPrincipal, db: Db) -> MembershipView:
    """Confirm who asked to join."""
    async with db.transaction() as session:
        membership = await confirm_membership(session, principal, organisation_id, person_id)
    return MembershipView.model_validate(membership)
