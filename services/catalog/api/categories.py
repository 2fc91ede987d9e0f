"""Routes of category schemes."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Query, Response

from chassis.api import Api, Arriving, Db, Page, Paging
from chassis.auth import PUBLIC, CurrentPrincipal
from services.catalog.arrivals import wait_for_area
from services.catalog.bodies import NewCategory
from services.catalog.categories import add_category, list_categories
from services.catalog.rights import COORDINATING
from services.catalog.views import CategoryView, view_category

api = Api("categories")


@api.get("/categories", policy=PUBLIC)
async def get_categories(
    db: Db,
    paging: Paging,
    scheme: Annotated[str | None, Query(max_length=100)] = None,
    area_id: UUID | None = None,
) -> Page[CategoryView]:
    """Categories in the order they were added; of an area: its own, and those of the areas above and within it."""
    async with db.transaction() as session:
        rows, cursor = await list_categories(session, scheme, area_id, paging)
    return Page(items=[view_category(row) for row in rows], next_cursor=cursor)


@api.post("/categories", policy=COORDINATING, status_code=201)
async def post_category(
    body: NewCategory, principal: CurrentPrincipal, arrivals: Arriving, db: Db, response: Response
) -> CategoryView:
    """Add a category; 200 with the one that is there when the area's scheme has the key already."""
    await wait_for_area(arrivals, body.area_id)
    async with db.transaction() as session:
        category, is_new = await add_category(session, principal, body)
    if not is_new:
        response.status_code = 200
    return view_category(category)
