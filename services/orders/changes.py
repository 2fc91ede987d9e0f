"""What becomes of a booking: confirmed by a coordinator, cancelled by somebody, or with its session.

Whoever gives seats back locks the session first, and lets those who wait move up before the commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal
from uuid import UUID

from sqlalchemy import and_, exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.audit import note
from chassis.db import world_of
from chassis.errors import Forbidden, NotFound
from chassis.inbox import by_sequence
from chassis.outbox import emit
from chassis.tokens import Principal
from contracts.catalog import SessionCancelled, SessionTerms
from contracts.event import Envelope
from contracts.orders import BookingCancelled, BookingConfirmed
from services.orders.booking_views import BookingView, about, booking_view, runs
from services.orders.models import Booking, SessionOffer
from services.orders.models.attendance import Attendance
from services.orders.offers import close_sessions, put_sessions
from services.orders.refusals import AlreadyAttended, BookingClosed, BookingEnded, StillWaiting
from services.orders.waiting import promote, unseat

CancelReason = Literal["person", "coordinator", "session_cancelled"]


async def confirm_booking(session: AsyncSession, principal: Principal, booking_id: UUID) -> BookingView:
    """Those who run the session confirm a pending booking; a confirmed one stays as it is."""
    offer, booking, running = await _entitled(session, principal, booking_id)
    if not running:
        raise Forbidden()
    if booking.status == "cancelled":
        raise BookingEnded()
    if booking.status == "waitlisted":
        raise StillWaiting()
    if booking.status == "pending":
        booking.status = "confirmed"
        booking.version += 1
        emit(session, BookingConfirmed(**about(booking, offer)), sequence=booking.version)
        note(session, principal.person_id, "confirm_booking", booking.id)
    return booking_view(booking, offer, None)


async def cancel_booking(session: AsyncSession, principal: Principal, booking_id: UUID) -> BookingView:
    """The owner, or those who run the session, give the seats back before it begins, and others move up."""
    offer, booking, _ = await _entitled(session, principal, booking_id)
    if booking.status == "cancelled":
        return booking_view(booking, offer, None)
    if offer.starts_at <= world_of(session).now():
        raise BookingClosed()
    came = exists().where(Attendance.booking_id == booking.id, Attendance.status != "voided")
    if await session.scalar(select(came)):
        raise AlreadyAttended()
    is_own = principal.person_id == booking.person_id
    _cancel(session, offer, booking, "person" if is_own else "coordinator")
    if not is_own:
        note(session, principal.person_id, "cancel_booking", booking.id)
    await session.flush()
    await promote(session, offer)
    return booking_view(booking, offer, None)


async def cancel_bookings_of(session: AsyncSession, person_id: UUID) -> None:
    """Give back a person's seats of every session that has not begun, except where they came already."""
    now = world_of(session).now()
    came = exists().where(Attendance.booking_id == Booking.id, Attendance.status != "voided")
    live = and_(Booking.person_id == person_id, Booking.status != "cancelled", ~came)
    booked = select(Booking.session_id).where(live)
    for offer in await _lock(session, (await session.scalars(booked)).all()):
        mine = select(Booking).where(live, Booking.session_id == offer.session_id).with_for_update()
        booking = await session.scalar(mine.execution_options(populate_existing=True))
        if booking is None or offer.starts_at <= now:
            continue
        _cancel(session, offer, booking, "person")
        await session.flush()
        await promote(session, offer)


async def follow_session_terms(session: AsyncSession, envelopes: Sequence[Envelope[SessionTerms]]) -> None:
    """Handler: take over a session's time and capacity; where there are more seats now, those who wait move up."""
    changed = await put_sessions(session, by_sequence(envelopes))
    for offer in await _lock(session, changed):
        await promote(session, offer)


async def cancel_sessions(session: AsyncSession, envelopes: Sequence[Envelope[SessionCancelled]]) -> None:
    """Handler: a session does not take place; every live booking of it is cancelled."""
    closed = await close_sessions(session, by_sequence(envelopes))
    for offer in await _lock(session, closed):
        live = select(Booking).where(Booking.session_id == offer.session_id, Booking.status != "cancelled")
        for booking in await session.scalars(live.order_by(Booking.id).with_for_update()):
            _cancel(session, offer, booking, "session_cancelled")


def _cancel(session: AsyncSession, offer: SessionOffer, booking: Booking, reason: CancelReason) -> None:
    if booking.status in {"pending", "confirmed"}:
        unseat(offer, booking.seats)
    booking.status = "cancelled"
    booking.version += 1
    emit(session, BookingCancelled(**about(booking, offer), reason=reason), sequence=booking.version)


async def _entitled(
    session: AsyncSession, principal: Principal, booking_id: UUID
) -> tuple[SessionOffer, Booking, bool]:
    """The locked session and booking, and whether the person runs the session; NotFound unless they do or own it."""
    session_id = await session.scalar(select(Booking.session_id).where(Booking.id == booking_id))
    if session_id is None:
        raise NotFound()
    offer = (await _lock(session, [session_id]))[0]
    booking = await session.scalar(select(Booking).where(Booking.id == booking_id).with_for_update())
    if booking is None:
        raise NotFound()
    running = await runs(session, principal, booking)
    if not running and booking.person_id != principal.person_id:
        raise NotFound()
    return offer, booking, running


async def _lock(session: AsyncSession, session_ids: Sequence[UUID]) -> Sequence[SessionOffer]:
    locked = select(SessionOffer).where(SessionOffer.session_id.in_(session_ids)).order_by(SessionOffer.session_id)
    found = await session.scalars(locked.with_for_update().execution_options(populate_existing=True))
    return found.all()
