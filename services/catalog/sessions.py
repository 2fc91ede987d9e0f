"""Sessions: scheduled for a published product, changed, cancelled. Orders decides who gets a seat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.api import PageRequest, page, require_match
from chassis.audit import note
from chassis.db import world_of
from chassis.errors import InvalidInput, NotFound
from chassis.outbox import emit
from chassis.tokens import Principal
from contracts.catalog import SessionCancelled, SessionChanged, SessionScheduled, SessionTerms
from services.catalog.bodies import NewSession, SessionChanges
from services.catalog.models import Product, ScheduledSession
from services.catalog.products import locked_product
from services.catalog.refusals import ProductNotPublished, SessionIsCancelled
from services.catalog.rights import require_offering

CURSOR_YEARS = range(1999, 2101)


async def schedule_session(
    session: AsyncSession, principal: Principal, product_id: UUID, new: NewSession
) -> ScheduledSession:
    """A new session of the product; ProductNotPublished when the product is not offered, or completed."""
    product = await locked_product(session, principal, product_id)
    await require_offering(session, principal, product)
    if product.status != "published":
        raise ProductNotPublished()
    scheduled = ScheduledSession(
        id=world_of(session).new_id(),
        product_id=product.id,
        area_id=product.area_id,
        area_path=product.area_path,
        title=product.title,
        status="scheduled",
        version=1,
        **{**new.model_dump(), "book_until": new.book_until or new.starts_at},
    )
    _require_order(scheduled)
    session.add(scheduled)
    emit(session, _told(SessionScheduled, scheduled), sequence=scheduled.version)
    note(session, principal.person_id, "schedule_session", scheduled.id)
    return scheduled


async def change_session(
    session: AsyncSession, principal: Principal, session_id: UUID, changes: SessionChanges, if_match: str | None
) -> ScheduledSession:
    """The session with another time, place or capacity; SessionIsCancelled when it does not take place."""
    scheduled = await _locked_session(session, principal, session_id)
    require_match(if_match, scheduled.version)
    if scheduled.status == "cancelled":
        raise SessionIsCancelled()
    changed: Mapping[str, Any] = changes.model_dump(exclude_none=True)
    if not changed:
        return scheduled
    if scheduled.book_until == scheduled.starts_at and changes.starts_at is not None:
        scheduled.book_until = changes.starts_at
    for name, value in changed.items():
        setattr(scheduled, name, value)
    _require_order(scheduled)
    scheduled.version += 1
    emit(session, _told(SessionChanged, scheduled), sequence=scheduled.version)
    note(session, principal.person_id, "change_session", scheduled.id, fields=", ".join(changed))
    return scheduled


async def cancel_session(
    session: AsyncSession, principal: Principal, session_id: UUID, reason: str
) -> ScheduledSession:
    """The session, cancelled from now on if it was not."""
    scheduled = await _locked_session(session, principal, session_id)
    if scheduled.status != "cancelled":
        scheduled.status = "cancelled"
        scheduled.reason = reason
        scheduled.version += 1
        fact = SessionCancelled(
            session_id=scheduled.id,
            product_id=scheduled.product_id,
            area_id=scheduled.area_id,
            title=scheduled.title,
            reason=reason,
        )
        emit(session, fact, sequence=scheduled.version)
        note(session, principal.person_id, "cancel_session", scheduled.id)
    return scheduled


async def find_session(session: AsyncSession, session_id: UUID) -> ScheduledSession:
    """The session: all sessions are public, for their products were published."""
    scheduled = await session.get(ScheduledSession, session_id)
    if scheduled is None:
        raise NotFound()
    return scheduled


async def list_sessions(
    session: AsyncSession,
    asked: PageRequest,
    *,
    product_id: UUID | None = None,
    area_id: UUID | None = None,
    starting_from: datetime | None = None,
    scheduled_only: bool = False,
) -> tuple[Sequence[ScheduledSession], str | None]:
    """Sessions by their start; an area stands for its subtree."""
    query = select(ScheduledSession)
    if product_id is not None:
        query = query.where(ScheduledSession.product_id == product_id)
    if area_id is not None:
        query = query.where(ScheduledSession.area_path.contains([area_id]))
    if starting_from is not None:
        query = query.where(ScheduledSession.starts_at >= starting_from)
    if scheduled_only:
        query = query.where(ScheduledSession.status == "scheduled")
    after = asked.after(lambda parts: (_cursor_time(str(parts[0])), UUID(str(parts[1]))))
    if after is not None:
        query = query.where(tuple_(ScheduledSession.starts_at, ScheduledSession.id) > after)
    query = query.order_by(ScheduledSession.starts_at, ScheduledSession.id).limit(asked.limit + 1)
    rows = (await session.scalars(query)).all()
    return page(rows, asked.limit, lambda row: (row.starts_at, row.id))


async def _locked_session(session: AsyncSession, principal: Principal, session_id: UUID) -> ScheduledSession:
    """The session, this transaction's to change; Forbidden for somebody else's."""
    scheduled = await session.get(ScheduledSession, session_id, with_for_update={"key_share": True})
    if scheduled is None:
        raise NotFound()
    product = await session.get_one(Product, scheduled.product_id)
    await require_offering(session, principal, product)
    return scheduled


def _require_order(scheduled: ScheduledSession) -> None:
    if scheduled.ends_at <= scheduled.starts_at:
        raise InvalidInput(("body.ends_at", "after", {"field": "starts_at"}))
    if scheduled.book_until > scheduled.ends_at:
        raise InvalidInput(("body.book_until", "less_than_equal", {"le": "ends_at"}))


def _cursor_time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None or time.year not in CURSOR_YEARS:
        raise ValueError("not a time that our cursors carry")
    return time.astimezone(UTC)


def _told(fact: type[SessionTerms], scheduled: ScheduledSession) -> SessionTerms:
    return fact(
        session_id=scheduled.id,
        product_id=scheduled.product_id,
        area_id=scheduled.area_id,
        title=scheduled.title,
        starts_at=scheduled.starts_at,
        ends_at=scheduled.ends_at,
        book_until=scheduled.book_until,
        venue=scheduled.venue,
        capacity=scheduled.capacity,
        confirmation=scheduled.confirmation,
    )
