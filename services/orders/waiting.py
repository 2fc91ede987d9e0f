"""The waiting list (候补): who gets seats that are given back, without starving large parties.

First come, first served, as long as the party fits. A party that does not fit yet may be overtaken by later ones that
do, at most `OVERTAKES_MAX` times: then nobody behind it gets seats before it has. Parties larger than the whole
session (its capacity was lowered) neither get seats nor hold anybody up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from sqlalchemy import ColumnElement, and_, select
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.db import world_of
from chassis.outbox import emit
from contracts.orders import BookingConfirmed, BookingPlaced
from services.orders.booking_views import about
from services.orders.models import Booking, SessionOffer

OVERTAKES_MAX = 3


class Party(Protocol):
    """Who waits: how many seats they need, and how often a later party got seats before them."""

    seats: int
    overtaken: int


P = TypeVar("P", bound=Party)


def move_up(waiting: Sequence[P], free: int) -> list[P]:
    """The parties, of those waiting in this order, that get the free seats; counts it on those they overtake."""
    moved: list[P] = []
    passed: list[P] = []
    most_overtaken = 0
    for party in waiting:
        if free <= 0 or most_overtaken >= OVERTAKES_MAX:
            break
        if party.seats > free:
            passed.append(party)
            most_overtaken = max(most_overtaken, party.overtaken)
            continue
        free -= party.seats
        moved.append(party)
        for other in passed:
            other.overtaken += 1
        most_overtaken += 1 if passed else 0
    return moved


async def promote(session: AsyncSession, offer: SessionOffer) -> None:
    """Give the locked session's free seats to those who wait, and tell them; nobody moves up once it has begun."""
    free = offer.seat_limit - offer.seats_taken
    if offer.status != "scheduled" or free <= 0 or offer.starts_at <= world_of(session).now():
        return
    queue = select(Booking).where(could_fit(offer)).order_by(Booking.queue_number).with_for_update()
    waiting = (await session.scalars(queue.execution_options(populate_existing=True))).all()
    for booking in move_up(waiting, free):
        booking.version += 1
        seat(session, offer, booking)


def seat(session: AsyncSession, offer: SessionOffer, booking: Booking) -> None:
    """Give the party its seats of the locked session, and tell it."""
    offer.seats_taken += booking.seats
    automatic = offer.confirmation == "automatic"
    booking.status = "confirmed" if automatic else "pending"
    fact = BookingConfirmed if automatic else BookingPlaced
    emit(session, fact(**about(booking, offer)), sequence=booking.version)


def unseat(offer: SessionOffer, seats: int) -> None:
    """Take seats of the locked session back."""
    offer.seats_taken -= seats
    offer.seat_limit = max(offer.seat_total, offer.seats_taken)


def could_fit(offer: SessionOffer) -> ColumnElement[bool]:
    """Those who wait for seats of the session and could ever get them."""
    return and_(
        Booking.session_id == offer.session_id, Booking.status == "waitlisted", Booking.seats <= offer.seat_total
    )
