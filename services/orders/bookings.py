"""Bookings (预约): a party takes seats of a session, all or none, or waits for them. What follows: `changes.py`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.db import Raced, world_of
from chassis.errors import NotFound, Refusal
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
    wanted = {request.session_id for request in requests}
    locked = select(SessionOffer).where(SessionOffer.session_id.in_(wanted)).order_by(SessionOffer.session_id)
    offers = {offer.session_id: offer for offer in await session.scalars(locked.with_for_update())}

    async def decide(fresh: Sequence[BookingRequest]) -> list[BookingView | Refusal]:
        lines = await _lines(session, offers)
        live = await _live(session, fresh)
        tickets = iter(await new_tickets(session, len(fresh)))
        bookings: list[Booking] = []
        answers: list[BookingView | Refusal] = []
        for request in fresh:
            line = lines.get(request.session_id)
            refusal = _why_not(line, request, live)
            if line is None or refusal is not None:
                answers.append(refusal or NotFound())
                continue
            live.add((request.session_id, request.person_id))
            bookings.append(_new_booking(session, line.offer, request, next(tickets)))
            with following(request.key.request_id):
                answers.append(_place(session, line, bookings[-1]))
        await _write(session, bookings, lines)
        return answers

    return await once_each(session, requests, decide, BookingView)


def _why_not(line: Line | None, request: BookingRequest, live: set[tuple[UUID, UUID]]) -> Refusal | None:
    if line is None:
        return NotFound()
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
    world = world_of(session)
    return Booking(
        id=world.new_id(),
        session_id=offer.session_id,
        product_id=offer.product_id,
        area_id=offer.area_id,
        person_id=request.person_id,
        seats=request.seats,
        ticket=ticket,
        overtaken=0,
        created_at=world.now(),
        version=1,
    )


async def _lines(session: AsyncSession, offers: dict[UUID, SessionOffer]) -> dict[UUID, Line]:
    """The waiting list of each locked session, counted."""
    now = world_of(session).now()
    products = {offer.product_id for offer in offers.values()}
    is_open = select(ProductOffer.product_id).where(ProductOffer.product_id.in_(products), ProductOffer.open)
    open_products = set(await session.scalars(is_open))
    lines = {
        session_id: Line(
            offer,
            open=offer.product_id in open_products
            and offer.status == "scheduled"
            and now < min(offer.book_until, offer.starts_at),
        )
        for session_id, offer in offers.items()
    }
    fits = Booking.seats <= SessionOffer.seat_total
    counted = await session.execute(
        select(
            Booking.session_id,
            func.count().label("waiting"),
            func.count().filter(fits).label("in_play"),
            func.coalesce(func.max(Booking.overtaken).filter(fits), 0).label("most_overtaken"),
        )
        .join(SessionOffer, SessionOffer.session_id == Booking.session_id)
        .where(Booking.session_id.in_(list(lines)), Booking.status == "waitlisted")
        .group_by(Booking.session_id)
    )
    for row in counted:
        line = lines[row.session_id]
        line.waiting, line.in_play, line.most_overtaken = row.waiting, row.in_play, row.most_overtaken
    return lines


async def _live(session: AsyncSession, requests: Sequence[BookingRequest]) -> set[tuple[UUID, UUID]]:
    """Session and person of each request whose person has a live booking already."""
    pairs = {(request.session_id, request.person_id) for request in requests}
    found = await session.execute(
        select(Booking.session_id, Booking.person_id).where(
            tuple_(Booking.session_id, Booking.person_id).in_(pairs), Booking.status != "cancelled"
        )
    )
    return {(row.session_id, row.person_id) for row in found}


async def _write(session: AsyncSession, bookings: Sequence[Booking], lines: dict[UUID, Line]) -> None:
    """Count the overtakes, then insert all bookings in one statement; Raced, should one exist after all."""
    for line in lines.values():
        if line.overtakes:
            overtaken = could_fit(line.offer)
            await session.execute(update(Booking).where(overtaken).values(overtaken=Booking.overtaken + line.overtakes))
    if bookings:
        columns = Booking.__table__.columns
        rows = [{column.name: getattr(booking, column.name) for column in columns} for booking in bookings]
        statement = insert(Booking).on_conflict_do_nothing().returning(Booking.id)
        if len((await session.scalars(statement, rows)).all()) != len(rows):
            raise Raced
