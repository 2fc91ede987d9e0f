"""Bookings (预约): a party takes seats of a session, all or none, or waits for them. What follows: `changes.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from types import SimpleNamespace
from typing import cast
from uuid import UUID

from sqlalchemy import func, literal_column, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.arrays import among, arrays, insert_arrays, wanted
from chassis.db import Raced, world_of
from chassis.errors import NotArrived, Refusal
from chassis.idempotency import IdempotencyKey, once_each
from chassis.outbox import emit
from chassis.telemetry import following
from contracts.orders import BookingWaitlisted
from services.orders.booking_views import BookingView, about, booking_view
from services.orders.models import Booking, ProductOffer, SessionOffer
from services.orders.refusals import AlreadyBooked, BookingClosed, PartyTooLarge
from services.orders.tickets import new_tickets
from services.orders.waiting import OVERTAKES_MAX, could_fit, seat

SEATS_MAX = 50
_COLUMNS = tuple(column.name for column in Booking.__table__.columns)
_LOCKED = (
    select(SessionOffer)
    .where(among(SessionOffer.session_id, "sessions"))
    .order_by(SessionOffer.session_id)
    .with_for_update()
)
_KNOWN = select(ProductOffer.product_id, ProductOffer.open).where(among(ProductOffer.product_id, "products"))
_asked = wanted(session_id=Booking.session_id, person_id=Booking.person_id)
# The status as it stands in the index's condition: by a parameter, a generic plan could not use the index.
_LIVE = (
    select(Booking.session_id, Booking.person_id)
    .join_from(Booking, _asked, (Booking.session_id == _asked.c.session_id) & (Booking.person_id == _asked.c.person_id))
    .where(Booking.status != literal_column("'cancelled'"))
)
_fits = Booking.seats <= SessionOffer.seat_total
_WAITING = (
    select(
        Booking.session_id,
        func.count().label("waiting"),
        func.count().filter(_fits).label("in_play"),
        func.coalesce(func.max(Booking.overtaken).filter(_fits), 0).label("most_overtaken"),
    )
    .join(SessionOffer, SessionOffer.session_id == Booking.session_id)
    .where(among(Booking.session_id, "sessions"), Booking.status == literal_column("'waitlisted'"))
    .group_by(Booking.session_id)
)
_counts = wanted(session=SessionOffer.session_id, taken=SessionOffer.seats_taken, last=SessionOffer.queue_last)
_COUNT_SEATS = (
    update(SessionOffer)
    .where(SessionOffer.session_id == _counts.c.session)
    .values(seats_taken=_counts.c.taken, queue_last=_counts.c.last)
)
_INSERT = insert_arrays(Booking, _COLUMNS).on_conflict_do_nothing().returning(Booking.id)


@dataclass(frozen=True, slots=True)
class BookingRequest:
    """A person's wish for seats of a session."""

    session_id: UUID
    seats: int
    person_id: UUID
    key: IdempotencyKey


@dataclass
class Line:
    """A locked session while a batch is decided: who waits for it already, and what the batch adds.

    `waiting` counts everybody, `in_play` those whom a party that gets seats at once would overtake.
    """

    offer: SessionOffer
    open: bool
    waiting: int = 0
    in_play: int = 0
    most_overtaken: int = 0
    overtakes: int = 0
    joined: list[Booking] = field(default_factory=list)


async def take_seats(session: AsyncSession, requests: Sequence[BookingRequest]) -> list[BookingView | Refusal]:
    """Give each party its seats, or a place in the waiting list, in order of arrival; BookingClosed, … for the rest."""
    sessions = {request.session_id for request in requests}
    offers = {offer.session_id: offer for offer in await session.scalars(_LOCKED, {"sessions": list(sessions)})}
    # What changes is written in one statement for all of them, and not by the ORM in one for each.
    for offer in offers.values():
        session.expunge(offer)

    async def decide(fresh: Sequence[BookingRequest]) -> list[BookingView | Refusal]:
        lines = await _lines(session, offers)
        live = await _live(session, fresh)
        tickets = iter(await new_tickets(session, len(fresh)))
        bookings: list[Booking] = []
        answers: list[BookingView | Refusal] = []
        for request in fresh:
            line = lines.get(request.session_id)
            refusal = _why_not(line, request, live) if line else NotArrived()
            if line is None or refusal is not None:
                answers.append(refusal or NotArrived())
                continue
            live.add((request.session_id, request.person_id))
            bookings.append(_new_booking(session, line.offer, request, next(tickets)))
            with following(request.key.origin):
                answers.append(_place(session, line, bookings[-1]))
        await _write(session, bookings, lines)
        return answers

    return await once_each(session, requests, decide, BookingView)


def _why_not(line: Line, request: BookingRequest, live: set[tuple[UUID, UUID]]) -> Refusal | None:
    if not line.open:
        return BookingClosed()
    if (request.session_id, request.person_id) in live:
        return AlreadyBooked()
    if request.seats > line.offer.seat_total:
        return PartyTooLarge(seats=line.offer.seat_total)
    return None


def _place(session: AsyncSession, line: Line, booking: Booking) -> BookingView:
    """Seats at once if they are free and nobody is overtaken once too often, else the end of the waiting list."""
    offer = line.offer
    fits = booking.seats <= offer.seat_limit - offer.seats_taken
    if fits and line.most_overtaken < OVERTAKES_MAX:
        if line.in_play:
            line.most_overtaken += 1
            line.overtakes += 1
        for other in line.joined:
            other.overtaken += 1
        seat(session, offer, booking)
        return booking_view(booking, offer, None)
    line.joined.append(booking)
    line.in_play += 1
    offer.queue_last += 1
    booking.status, booking.queue_number = "waitlisted", offer.queue_last
    position = line.waiting + len(line.joined)
    emit(session, BookingWaitlisted(**about(booking, offer), position=position), sequence=booking.version)
    return booking_view(booking, offer, position)


def _new_booking(session: AsyncSession, offer: SessionOffer, request: BookingRequest, ticket: str) -> Booking:
    """A plain object with a booking's columns: one that the ORM watched would cost several times as much."""
    world = world_of(session)
    columns = SimpleNamespace(
        id=world.new_id(),
        session_id=offer.session_id,
        product_id=offer.product_id,
        area_id=offer.area_id,
        person_id=request.person_id,
        seats=request.seats,
        status="waitlisted",
        ticket=ticket,
        queue_number=None,
        overtaken=0,
        created_at=world.now(),
        version=1,
    )
    return cast(Booking, columns)


async def _lines(session: AsyncSession, offers: dict[UUID, SessionOffer]) -> dict[UUID, Line]:
    """The waiting list of each locked session whose product is known, too, counted."""
    now = world_of(session).now()
    products = {offer.product_id for offer in offers.values()}
    known = await session.execute(_KNOWN, {"products": list(products)})
    is_open = {row.product_id: row.open for row in known}
    lines = {
        session_id: Line(
            offer,
            open=is_open[offer.product_id]
            and offer.status == "scheduled"
            and now < min(offer.book_until, offer.starts_at),
        )
        for session_id, offer in offers.items()
        if offer.product_id in is_open
    }
    for row in await session.execute(_WAITING, {"sessions": list(lines)}):
        line = lines[row.session_id]
        line.waiting, line.in_play, line.most_overtaken = row.waiting, row.in_play, row.most_overtaken
    return lines


async def _live(session: AsyncSession, requests: Sequence[BookingRequest]) -> set[tuple[UUID, UUID]]:
    """Session and person of each request whose person has a live booking already."""
    found = await session.execute(
        _LIVE,
        {
            "session_id": [request.session_id for request in requests],
            "person_id": [request.person_id for request in requests],
        },
    )
    return {(row.session_id, row.person_id) for row in found}


async def _write(session: AsyncSession, bookings: Sequence[Booking], lines: Mapping[UUID, Line]) -> None:
    """Count the overtakes, then write all bookings and what they took; Raced, should one exist after all."""
    for line in lines.values():
        if line.overtakes:
            overtaken = could_fit(line.offer)
            await session.execute(update(Booking).where(overtaken).values(overtaken=Booking.overtaken + line.overtakes))
    if not bookings:
        return
    rows = arrays(_COLUMNS, [itemgetter(*_COLUMNS)(vars(booking)) for booking in bookings])
    if len((await session.scalars(_INSERT, rows)).all()) != len(bookings):
        raise Raced
    booked = {booking.session_id for booking in bookings}
    await _count_seats(session, [lines[session_id].offer for session_id in booked])


async def _count_seats(session: AsyncSession, offers: Sequence[SessionOffer]) -> None:
    """Write how many seats of the locked sessions are taken, and the last number of their waiting lists."""
    counts = {
        "session": [offer.session_id for offer in offers],
        "taken": [offer.seats_taken for offer in offers],
        "last": [offer.queue_last for offer in offers],
    }
    await session.execute(_COUNT_SEATS, counts, execution_options={"synchronize_session": False})
