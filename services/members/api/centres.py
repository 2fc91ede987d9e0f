"""Centres."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from chassis.api import Api, Body, Db, Page, Paging, Words, page
from chassis.auth import PUBLIC, CurrentPrincipal, roles
from chassis.errors import NotFound
from services.members.api.inputs import Name
from services.members.centres import list_centres, open_centre
from services.members.models import Centre
from services.members.views import CentreView

api = Api("centres")


class NewCentre(Body):
    """A centre of the area."""

    area_id: UUID
    name: Name
    name_en: Name | None = None
    address: Annotated[str, Words(300)]


@api.get("/centres", policy=PUBLIC)
async def get_centres(db: Db, paging: Paging, area_id: UUID | None = None) -> Page[CentreView]:
    """Centres, newest first; `area_id` stands for its whole subtree."""
    before = paging.after_id()
    async with db.transaction() as session:
        rows = await list_centres(session, area_id=area_id, before=before, limit=paging.limit + 1)
    shown, cursor = page(rows, paging.limit, lambda centre: (centre.id,))
    return Page(items=[CentreView.model_validate(centre) for centre in shown], next_cursor=cursor)


@api.post("/centres", policy=roles("operator", "coordinator"), status_code=201)
async def post_centre(body: NewCentre, principal: CurrentPrincipal, db: Db) -> CentreView:
    """Open a centre in an area."""
    async with db.transaction() as session:
        centre = await open_centre(
            session,
            principal,
            area_id=body.area_id,
            name=body.name,
            name_en=body.name_en,
            address=body.address,
        )
    return CentreView.model_validate(centre)


@api.get("/centres/{centre_id}", policy=PUBLIC)
async def get_centre(centre_id: UUID, db: Db) -> CentreView:
    async with db.transaction() as session:
        centre = await session.get(Centre, centre_id)
    if centre is None:
        raise NotFound()
    return CentreView.model_validate(centre)
