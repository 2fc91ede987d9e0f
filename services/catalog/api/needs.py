"""Routes of needs and their triage."""

from __future__ import annotations

from uuid import UUID

from chassis.api import Api, Arriving, Db, Page, Paging
from chassis.auth import PUBLIC, SIGNED_IN, CurrentPrincipal, OptionalPrincipal
from services.catalog import needs
from services.catalog.api.filters import Search
from services.catalog.arrivals import wait_for_area
from services.catalog.bodies import NeedAcceptance, NeedDecline, NewNeed
from services.catalog.models import NeedStatus
from services.catalog.product_views import view_product
from services.catalog.rights import COORDINATING
from services.catalog.views import AcceptedNeedView, NeedView

api = Api("needs")


@api.get("/needs", policy=PUBLIC)
async def get_needs(
    principal: OptionalPrincipal,
    db: Db,
    paging: Paging,
    area_id: UUID | None = None,
    status: NeedStatus | None = None,
    q: Search = "",
) -> Page[NeedView]:
    """Needs, newest first; an area stands for its subtree."""
    async with db.transaction() as session:
        rows, cursor = await needs.list_needs(session, area_id, status, q.strip(), paging)
    return Page(items=[needs.show_need(row, principal) for row in rows], next_cursor=cursor)


@api.post("/needs", policy=SIGNED_IN, status_code=201)
async def post_need(body: NewNeed, principal: CurrentPrincipal, arrivals: Arriving, db: Db) -> NeedView:
    """Say what is needed; a coordinator of the area decides about it."""
    await wait_for_area(arrivals, body.area_id)
    async with db.transaction() as session:
        need = await needs.post_need(session, principal, body)
    return needs.show_need(need, principal)


@api.get("/needs/{need_id}", policy=PUBLIC)
async def get_need(need_id: UUID, principal: OptionalPrincipal, db: Db) -> NeedView:
    """One need, with what became of it."""
    async with db.transaction() as session:
        need = await needs.find_need(session, need_id)
    return needs.show_need(need, principal)


@api.post("/needs/{need_id}/accept", policy=COORDINATING)
async def accept_need(need_id: UUID, body: NeedAcceptance, principal: CurrentPrincipal, db: Db) -> AcceptedNeedView:
    """Make a product from the need."""
    async with db.transaction() as session:
        need, product = await needs.accept_need(session, principal, need_id, body.product)
        view = await view_product(session, product)
    return AcceptedNeedView(need=needs.show_need(need, principal), product=view)


@api.post("/needs/{need_id}/decline", policy=COORDINATING)
async def decline_need(need_id: UUID, body: NeedDecline, principal: CurrentPrincipal, db: Db) -> NeedView:
    """NeedDecline the need; the reason is public."""
    async with db.transaction() as session:
        need = await needs.decline_need(session, principal, need_id, body.reason)
    return needs.show_need(need, principal)
