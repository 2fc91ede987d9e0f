"""Routes of sessions."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Query, Response

from chassis.api import Api, Db, IfMatch, Page, Paging, etag
from chassis.auth import PUBLIC, CurrentPrincipal, OptionalPrincipal
from services.catalog import sessions
from services.catalog.bodies import NewSession, SessionCancellation, SessionChanges, Time
from services.catalog.models import ScheduledSession
from services.catalog.product_lists import find_product
from services.catalog.rights import OFFERING
from services.catalog.views import SessionView, view_session

api = Api("sessions")

StartingFrom = Annotated[Time | None, Query(alias="from", description="Sessions that start then or later.")]


@api.get("/products/{product_id}/sessions", policy=PUBLIC)
async def get_product_sessions(
    product_id: UUID, principal: OptionalPrincipal, db: Db, paging: Paging, starting_from: StartingFrom = None
) -> Page[SessionView]:
    """A product's sessions by their start, the cancelled ones too."""
    async with db.transaction() as session:
        await find_product(session, principal, product_id)
        rows, cursor = await sessions.list_sessions(session, paging, product_id=product_id, starting_from=starting_from)
    return Page(items=[view_session(row) for row in rows], next_cursor=cursor)


@api.post("/products/{product_id}/sessions", policy=OFFERING, status_code=201)
async def post_session(
    product_id: UUID, body: NewSession, principal: CurrentPrincipal, db: Db, response: Response
) -> SessionView:
    """Schedule a session of a published product."""
    async with db.transaction() as session:
        scheduled = await sessions.schedule_session(session, principal, product_id, body)
    return _tagged(response, scheduled)


@api.get("/sessions", policy=PUBLIC)
async def get_sessions(
    db: Db, paging: Paging, area_id: UUID | None = None, starting_from: StartingFrom = None
) -> Page[SessionView]:
    """Sessions that take place, by their start; an area stands for its subtree. Without `from`: those still to come."""
    async with db.transaction() as session:
        rows, cursor = await sessions.list_sessions(
            session,
            paging,
            area_id=area_id,
            starting_from=starting_from or db.world.now(),
            scheduled_only=True,
        )
    return Page(items=[view_session(row) for row in rows], next_cursor=cursor)


@api.get("/sessions/{session_id}", policy=PUBLIC)
async def get_session(session_id: UUID, db: Db, response: Response) -> SessionView:
    """One session."""
    async with db.transaction() as session:
        scheduled = await sessions.find_session(session, session_id)
    return _tagged(response, scheduled)


@api.patch("/sessions/{session_id}", policy=OFFERING)
async def patch_session(
    session_id: UUID,
    body: SessionChanges,
    principal: CurrentPrincipal,
    if_match: IfMatch,
    db: Db,
    response: Response,
) -> SessionView:
    """Give a session another time, place or capacity."""
    async with db.transaction() as session:
        scheduled = await sessions.change_session(session, principal, session_id, body, if_match)
    return _tagged(response, scheduled)


@api.post("/sessions/{session_id}/cancel", policy=OFFERING)
async def cancel_session(
    session_id: UUID, body: SessionCancellation, principal: CurrentPrincipal, db: Db, response: Response
) -> SessionView:
    """Cancel a session and, by that, its bookings; nothing changes when it is cancelled already."""
    async with db.transaction() as session:
        scheduled = await sessions.cancel_session(session, principal, session_id, body.reason)
    return _tagged(response, scheduled)


def _tagged(response: Response, scheduled: ScheduledSession) -> SessionView:
    response.headers.update(etag(scheduled.version))
    return view_session(scheduled)
