"""The public counters: counted from the copies, so that facts may come twice and in any order.

The counted thing is locked first. Whoever else copies facts about it has then committed, and the count sees what
they wrote.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import case, distinct, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.inbox import by_sequence
from contracts.event import Envelope
from contracts.orders import (
    AttendanceFact,
    AttendanceVoided,
    BookingCancelled,
    BookingFact,
    ClaimCompleted,
    ClaimFact,
    ClaimReleased,
    ReviewPosted,
)
from services.catalog.copies import AttendanceSeen, BookingSeen, ClaimSeen, ClaimState, ReviewSeen
from services.catalog.models import Base, Product, ScheduledSession
from services.catalog.needs import fulfil_needs
from services.catalog.products import settle_completion


async def count_claims(session: AsyncSession, envelopes: Sequence[Envelope[ClaimFact]]) -> None:
    """Claims under way and completed; the first completed one fulfils the need, the last completes the product."""
    products = await _locked_products(session, (envelope.data.product_id for envelope in envelopes))
    await take_over(session, ClaimSeen, [_claim(envelope) for envelope in by_sequence(envelopes)])
    counted = (
        select(
            ClaimSeen.product_id,
            func.count(case((ClaimSeen.state == "active", 1))).label("active"),
            func.count(case((ClaimSeen.state == "completed", 1))).label("completed"),
        )
        .where(ClaimSeen.product_id.in_(products))
        .group_by(ClaimSeen.product_id)
    )
    for row in await session.execute(counted):
        product = products[row.product_id]
        product.claims_active, product.claims_completed = row.active, row.completed
        settle_completion(product)
    await fulfil_needs(session, [product.id for product in products.values() if product.claims_completed])


async def count_seats(session: AsyncSession, envelopes: Sequence[Envelope[BookingFact]]) -> None:
    """Seats that a session's bookings take."""
    ids = {envelope.data.session_id for envelope in envelopes}
    locked = select(ScheduledSession).where(ScheduledSession.id.in_(ids)).order_by(ScheduledSession.id)
    sessions = {row.id: row for row in await session.scalars(locked.with_for_update(key_share=True))}
    await take_over(session, BookingSeen, [_booking(envelope) for envelope in by_sequence(envelopes)])
    counted = (
        select(BookingSeen.session_id, func.sum(BookingSeen.seats).label("seats"))
        .where(BookingSeen.session_id.in_(sessions))
        .group_by(BookingSeen.session_id)
    )
    for row in await session.execute(counted):
        sessions[row.session_id].seats_taken = row.seats


async def count_participants(session: AsyncSession, envelopes: Sequence[Envelope[AttendanceFact]]) -> None:
    """Different people who came to a product, each once however often they came."""
    products = await _locked_products(session, (envelope.data.product_id for envelope in envelopes))
    await take_over(session, AttendanceSeen, [_attendance(envelope) for envelope in by_sequence(envelopes)])
    people = func.count(distinct(case((~AttendanceSeen.voided, AttendanceSeen.person_id))))
    counted = (
        select(AttendanceSeen.product_id, people.label("people"))
        .where(AttendanceSeen.product_id.in_(products))
        .group_by(AttendanceSeen.product_id)
    )
    for row in await session.execute(counted):
        products[row.product_id].participants = row.people


async def count_reviews(session: AsyncSession, envelopes: Sequence[Envelope[ReviewPosted]]) -> None:
    """Reviews of a product, and their stars."""
    products = await _locked_products(session, (envelope.data.product_id for envelope in envelopes))
    await take_over(session, ReviewSeen, [_review(envelope) for envelope in by_sequence(envelopes)])
    counted = (
        select(ReviewSeen.product_id, func.count().label("reviews"), func.sum(ReviewSeen.stars).label("stars"))
        .where(ReviewSeen.product_id.in_(products))
        .group_by(ReviewSeen.product_id)
    )
    for row in await session.execute(counted):
        product = products[row.product_id]
        product.reviews, product.stars_sum = row.reviews, row.stars


async def take_over(session: AsyncSession, copy: type[Base], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write copied rows over older ones; a row that is there with a higher sequence stays."""
    ordered = sorted(rows, key=lambda row: str(row["id"]))
    statement = insert(copy).values(ordered)
    columns = copy.__table__.columns
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=["id"],
            set_={column.name: statement.excluded[column.name] for column in columns if column.name != "id"},
            where=columns["sequence"] < statement.excluded["sequence"],
        )
    )


async def _locked_products(session: AsyncSession, ids: Iterable[UUID]) -> dict[UUID, Product]:
    locked = select(Product).where(Product.id.in_(set(ids))).order_by(Product.id)
    rows = await session.scalars(locked.with_for_update(key_share=True))
    return {product.id: product for product in rows}


def _claim(envelope: Envelope[ClaimFact]) -> dict[str, object]:
    fact = envelope.data
    state: ClaimState = "active"
    if isinstance(fact, ClaimCompleted | ClaimReleased):
        state = "completed" if isinstance(fact, ClaimCompleted) else "released"
    return {
        "id": fact.claim_id,
        "product_id": fact.product_id,
        "organisation_id": fact.claimant_id if fact.claimant_type == "organisation" else None,
        "state": state,
        "sequence": envelope.sequence,
    }


def _booking(envelope: Envelope[BookingFact]) -> dict[str, object]:
    fact = envelope.data
    seats = 0 if isinstance(fact, BookingCancelled) else fact.seats
    return {"id": fact.booking_id, "session_id": fact.session_id, "seats": seats, "sequence": envelope.sequence}


def _attendance(envelope: Envelope[AttendanceFact]) -> dict[str, object]:
    fact = envelope.data
    return {
        "id": fact.attendance_id,
        "product_id": fact.product_id,
        "person_id": fact.person_id,
        "voided": isinstance(fact, AttendanceVoided),
        "sequence": envelope.sequence,
    }


def _review(envelope: Envelope[ReviewPosted]) -> dict[str, object]:
    fact = envelope.data
    return {"id": fact.review_id, "product_id": fact.product_id, "stars": fact.stars, "sequence": envelope.sequence}
