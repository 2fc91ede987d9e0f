"""Routes of bookings."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.api import Api, Arriving, Body, Db, Page, Paging, page
from chassis.auth import SIGNED_IN, CurrentPrincipal, roles
from chassis.errors import Forbidden, NotArrived
from chassis.idempotency import Keyed
from services.orders.booking_views import BookingView, list_bookings, page_key, read_booking, runs
from services.orders.bookings import SEATS_MAX, BookingRequest
from services.orders.changes import cancel_booking, confirm_booking
from services.orders.models import ProductOffer, SessionOffer
from services.orders.parts import CurrentParts

api = Api("bookings")


class NewBooking(Body):
    """For how many, the person who books included."""

    seats: Annotated[int, Field(ge=1, le=SEATS_MAX, strict=True)]


@api.post("/sessions/{session_id}/bookings", policy=SIGNED_IN, status_code=201)
async def book_session(
    session_id: UUID,
    body: NewBooking,
    principal: CurrentPrincipal,
    key: Keyed,
    arriving: Arriving,
    parts: CurrentParts,
) -> BookingView:
    """Book seats, all or none; a full session puts the party on its waiting list (`waitlisted`).

    409: `booking_closed`, `already_booked`, `party_too_large`.
    """

    async def known(session: AsyncSession) -> UUID | None:
        both = select(SessionOffer.session_id).join(ProductOffer, ProductOffer.product_id == SessionOffer.product_id)
        return await session.scalar(both.where(SessionOffer.session_id == session_id))

    request = BookingRequest(session_id, body.seats, principal.person_id, key)
    return await arriving.then(lambda: parts.bookings.submit(request), known)


@api.get("/sessions/{session_id}/bookings", policy=roles("coordinator", "operator", "organisation_admin"))
async def list_bookings_of_session(
    session_id: UUID, db: Db, paging: Paging, principal: CurrentPrincipal
) -> Page[BookingView]:
    """Who booked a session, newest first, for those who run it."""
    before = paging.after_id()
    async with db.transaction() as session:
        offer = await session.get(SessionOffer, session_id)
        if offer is None:
            raise NotArrived()
        if not await runs(session, principal, offer):
            raise Forbidden()
        found = await list_bookings(session, before, paging.limit, session_id=session_id)
    shown, cursor = page(found, paging.limit, page_key)
    return Page(items=list(shown), next_cursor=cursor)


@api.get("/me/bookings", policy=SIGNED_IN)
async def list_my_bookings(db: Db, paging: Paging, principal: CurrentPrincipal) -> Page[BookingView]:
    """My bookings, newest first."""
    before = paging.after_id()
    async with db.transaction() as session:
        found = await list_bookings(session, before, paging.limit, person_id=principal.person_id)
    shown, cursor = page(found, paging.limit, page_key)
    return Page(items=list(shown), next_cursor=cursor)


@api.get("/bookings/{booking_id}", policy=SIGNED_IN)
async def get_booking(booking_id: UUID, db: Db, principal: CurrentPrincipal) -> BookingView:
    """A booking, for its owner and for those who run the session."""
    async with db.transaction() as session:
        return await read_booking(session, principal, booking_id)


@api.post("/bookings/{booking_id}/confirm", policy=SIGNED_IN)
async def confirm(booking_id: UUID, db: Db, principal: CurrentPrincipal) -> BookingView:
    """Confirm a pending booking, as somebody who runs the session. 409: `still_waiting`, `booking_ended`."""
    async with db.transaction() as session:
        return await confirm_booking(session, principal, booking_id)


@api.post("/bookings/{booking_id}/cancel", policy=SIGNED_IN)
async def cancel(booking_id: UUID, db: Db, principal: CurrentPrincipal) -> BookingView:
    """Give the seats back, or leave the waiting list. 409: `booking_closed` once the session has begun."""
    async with db.transaction() as session:
        return await cancel_booking(session, principal, booking_id)
