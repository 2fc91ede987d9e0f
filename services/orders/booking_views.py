"""Bookings as they are shown, and as facts tell of them: each with its session's present title and time."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, cast
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlalchemy.sql.selectable import ScalarSelect

from chassis import scopes
from chassis.errors import NotFound
from chassis.tokens import Principal
from services.orders.models import Booking, ProductOffer, SessionOffer


class TicketView(BaseModel):
    """The code that the party shows when it comes; it lets nobody in until the booking is confirmed."""

    code: str
    valid: bool


class BookingView(BaseModel):
    """A booking for its owner and for those who run the session; `position` in the waiting list begins with 1."""

    id: UUID
    session_id: UUID
    product_id: UUID
    area_id: UUID
    person_id: UUID
    title: str
    starts_at: datetime
    seats: int
    status: Literal["pending", "confirmed", "waitlisted", "cancelled"]
    ticket: TicketView
    position: int | None
    created_at: datetime
    version: int


def booking_view(booking: Booking, offer: SessionOffer, position: int | None) -> BookingView:
    """The booking as its owner may see it."""
    return BookingView(
        id=booking.id,
        session_id=booking.session_id,
        product_id=booking.product_id,
        area_id=booking.area_id,
        person_id=booking.person_id,
        title=offer.title,
        starts_at=offer.starts_at,
        seats=booking.seats,
        status=cast(Any, booking.status),
        ticket=TicketView(code=booking.ticket, valid=booking.status == "confirmed"),
        position=position if booking.status == "waitlisted" else None,
        created_at=booking.created_at,
        version=booking.version,
    )


def about(booking: Booking, offer: SessionOffer) -> dict[str, Any]:
    """What every fact about the booking says."""
    return {
        "booking_id": booking.id,
        "session_id": booking.session_id,
        "product_id": booking.product_id,
        "area_id": booking.area_id,
        "title": offer.title,
        "starts_at": offer.starts_at,
        "person_id": booking.person_id,
        "seats": booking.seats,
    }


async def read_booking(session: AsyncSession, principal: Principal, booking_id: UUID) -> BookingView:
    """The booking, for its owner and for those who run the session; NotFound for everybody else."""
    found = await list_bookings(session, None, 1, booking_id=booking_id)
    if not found:
        raise NotFound()
    if found[0].person_id != principal.person_id and not await runs(session, principal, found[0]):
        raise NotFound()
    return found[0]


async def list_bookings(
    session: AsyncSession,
    before: UUID | None,
    limit: int,
    *,
    person_id: UUID | None = None,
    session_id: UUID | None = None,
    booking_id: UUID | None = None,
) -> list[BookingView]:
    """Bookings of a person or of a session, newest first; one more than `limit` if there are."""
    found = select(Booking, SessionOffer, _position()).join(SessionOffer, SessionOffer.session_id == Booking.session_id)
    if person_id is not None:
        found = found.where(Booking.person_id == person_id)
    if session_id is not None:
        found = found.where(Booking.session_id == session_id)
    if booking_id is not None:
        found = found.where(Booking.id == booking_id)
    if before is not None:
        found = found.where(Booking.id < before)
    rows = await session.execute(found.order_by(Booking.id.desc()).limit(limit + 1))
    return [booking_view(booking, offer, position) for booking, offer, position in rows]


async def runs(session: AsyncSession, principal: Principal, thing: Booking | BookingView | SessionOffer) -> bool:
    """Whether the person coordinates the area, or administers the organisation that offers the product."""
    organisation_id = await session.scalar(
        select(ProductOffer.organisation_id).where(ProductOffer.product_id == thing.product_id)
    )
    if organisation_id and principal.has_for_organisation(organisation_id, "organisation_admin"):
        return True
    return await scopes.covers(session, principal, thing.area_id, "coordinator", "operator")


def _position() -> ScalarSelect[int]:
    """For each booking of a query: how many parties wait up to and including it."""
    ahead = aliased(Booking)
    queue = (
        ahead.session_id == Booking.session_id,
        ahead.status == "waitlisted",
        ahead.queue_number <= Booking.queue_number,
    )
    return select(func.count()).select_from(ahead).where(*queue).correlate(Booking).scalar_subquery()


def page_key(booking: BookingView) -> tuple[UUID]:
    """What the next page goes on after."""
    return (booking.id,)
