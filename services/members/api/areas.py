"""Areas and how many are registered in them."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from chassis.api import Api, Body, Db, Page, Paging, Words, page
from chassis.auth import PUBLIC, CurrentPrincipal, roles
from chassis.errors import NotFound
from services.members.api.inputs import Name, SearchText
from services.members.areas import Level, add_area, list_areas
from services.members.models import Area
from services.members.registrations import count_registrations
from services.members.views import AreaView, RegistrationCountView

api = Api("areas")


class NewArea(Body):
    """Without a time zone it keeps its parent's."""

    parent_id: UUID | None = None
    level: Level
    name: Name
    name_en: Name | None = None
    timezone: Annotated[str, Words(64)] | None = None


@api.get("/areas", policy=PUBLIC)
async def get_areas(
    db: Db, paging: Paging, parent_id: UUID | None = None, level: Level | None = None, q: SearchText | None = None
) -> Page[AreaView]:
    """Areas, newest first."""
    before = paging.after_id()
    async with db.transaction() as session:
        rows = await list_areas(session, parent_id=parent_id, level=level, q=q, before=before, limit=paging.limit + 1)
    shown, cursor = page(rows, paging.limit, lambda area: (area.id,))
    return Page(items=[AreaView.model_validate(area) for area in shown], next_cursor=cursor)


@api.post("/areas", policy=roles("operator", "coordinator"), status_code=201)
async def post_area(body: NewArea, principal: CurrentPrincipal, db: Db) -> AreaView:
    """Add an area below another one; a root is for operators."""
    async with db.transaction() as session:
        area = await add_area(
            session,
            principal,
            parent_id=body.parent_id,
            level=body.level,
            name=body.name,
            name_en=body.name_en,
            timezone=body.timezone,
        )
    return AreaView.model_validate(area)


@api.get("/areas/{area_id}", policy=PUBLIC)
async def get_area(area_id: UUID, db: Db) -> AreaView:
    async with db.transaction() as session:
        area = await session.get(Area, area_id)
    if area is None:
        raise NotFound()
    return AreaView.model_validate(area)


@api.get("/areas/{area_id}/registrations/count", policy=PUBLIC)
async def get_registration_count(area_id: UUID, db: Db) -> RegistrationCountView:
    """How many people and organisations are registered in the area's subtree."""
    async with db.transaction() as session:
        if await session.get(Area, area_id) is None:
            raise NotFound()
        people, organisations = await count_registrations(session, area_id)
    return RegistrationCountView(area_id=area_id, people=people, organisations=organisations)
