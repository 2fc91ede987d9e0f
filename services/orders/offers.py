"""Orders' copies of what is offered: a row takes over only a higher `sequence`. What was told last wins, in any order.

Totals are absolute. `limit` is kept at the greater of total and taken, here and wherever something is given back, so
that lowering a total below what is taken breaks nothing and lets nobody in either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Integer, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from chassis.db import Raced
from chassis.inbox import by_sequence
from contracts.catalog import ProductTerms, ProductWithdrawn, RewardPublished, SessionCancelled, SessionTerms
from contracts.event import Envelope
from services.orders.models import ProductOffer, RewardOffer, SessionOffer

# What catalog may promise at most; keeps the arithmetic of times within the calendar.
LEASE_MAX_H = 24 * 366


async def take_places(session: AsyncSession, taken: Mapping[UUID, int]) -> None:
    """Count new claims of locked products; Raced, should a product not have that many places after all."""
    offer = ProductOffer
    for product_id, places in sorted(taken.items()):
        took = await session.execute(
            update(offer)
            .where(offer.product_id == product_id, offer.claim_taken + places <= offer.claim_limit)
            .values(claim_taken=offer.claim_taken + places)
            .returning(offer.product_id),
            execution_options={"synchronize_session": False},
        )
        if took.first() is None:
            raise Raced


async def give_back_places(session: AsyncSession, given: Mapping[UUID, int]) -> None:
    """Count ended claims of locked products."""
    offer = ProductOffer
    for product_id, places in sorted(given.items()):
        left = offer.claim_taken - places
        await session.execute(
            update(offer)
            .where(offer.product_id == product_id)
            .values(claim_taken=left, claim_limit=func.greatest(offer.claim_total, left)),
            execution_options={"synchronize_session": False},
        )


async def put_products(session: AsyncSession, envelopes: Sequence[Envelope[ProductTerms]]) -> None:
    """Handler: take over a product's terms; it is open from then on."""
    rows = [
        {
            **envelope.data.model_dump(exclude={"claim_capacity", "lease_hours"}),
            "claim_total": envelope.data.claim_capacity,
            "claim_limit": envelope.data.claim_capacity,
            "lease_hours": min(envelope.data.lease_hours, LEASE_MAX_H),
            "open": True,
            "sequence": envelope.sequence,
        }
        for envelope in by_sequence(envelopes)
    ]
    await _upsert(
        session, ProductOffer, rows, key=["product_id"], capacity=("claim_total", "claim_limit", "claim_taken")
    )


async def close_products(session: AsyncSession, envelopes: Sequence[Envelope[ProductWithdrawn]]) -> None:
    """Handler: the product takes nothing more; also when this is the first that orders hears of it."""
    rows = [
        {**envelope.data.model_dump(), "open": False, "sequence": envelope.sequence}
        for envelope in by_sequence(envelopes)
    ]
    await _upsert(session, ProductOffer, rows, key=["product_id"])


async def put_sessions(session: AsyncSession, envelopes: Iterable[Envelope[SessionTerms]]) -> list[UUID]:
    """Take over sessions' terms; ids of those that were news."""
    rows = [
        {
            **envelope.data.model_dump(exclude={"capacity"}),
            "seat_total": envelope.data.capacity,
            "seat_limit": envelope.data.capacity,
            "status": "scheduled",
            "sequence": envelope.sequence,
        }
        for envelope in envelopes
    ]
    capacity = ("seat_total", "seat_limit", "seats_taken")
    return await _upsert(session, SessionOffer, rows, key=["session_id"], capacity=capacity)


async def close_sessions(session: AsyncSession, envelopes: Iterable[Envelope[SessionCancelled]]) -> list[UUID]:
    """Note that sessions do not take place; ids of those for which this was news.

    A session heard of for the first time gets the time of the news for its hours: nobody reads a cancelled one's.
    """
    rows = [
        {
            **envelope.data.model_dump(exclude={"reason"}),
            **dict.fromkeys(("starts_at", "ends_at", "book_until"), envelope.time),
            "venue": "",
            "confirmation": "automatic",
            "status": "cancelled",
            "sequence": envelope.sequence,
        }
        for envelope in envelopes
    ]
    told = ("title", "status", "sequence")
    return await _upsert(session, SessionOffer, rows, key=["session_id"], columns=told)


async def put_rewards(session: AsyncSession, envelopes: Sequence[Envelope[RewardPublished]]) -> None:
    """Handler: take over a reward's price and its stock by centre; a centre no longer named has no more to give."""
    reward = RewardOffer
    for envelope in sorted(by_sequence(envelopes), key=lambda envelope: envelope.data.reward_id):
        fact = envelope.data
        known = select(func.max(reward.sequence)).where(reward.reward_id == fact.reward_id)
        if (await session.scalar(known) or 0) >= envelope.sequence:
            continue
        await session.execute(
            update(reward)
            .where(reward.reward_id == fact.reward_id, reward.sequence < envelope.sequence)
            .values(stock_total=0, stock_limit=reward.stock_taken)
        )
        rows = [
            {
                **fact.model_dump(exclude={"stock"}),
                "centre_id": centre_id,
                "stock_total": total,
                "stock_limit": total,
                "sequence": envelope.sequence,
            }
            for centre_id, total in sorted({stock.centre_id: stock.total for stock in fact.stock}.items())
        ]
        capacity = ("stock_total", "stock_limit", "stock_taken")
        await _upsert(session, reward, rows, key=["reward_id", "centre_id"], capacity=capacity)


async def _upsert(
    session: AsyncSession,
    model: type[ProductOffer | SessionOffer | RewardOffer],
    rows: list[dict[str, Any]],
    *,
    key: list[str],
    columns: Iterable[str] | None = None,
    capacity: tuple[str, str, str] | None = None,
) -> list[UUID]:
    """Insert the rows, or overwrite `columns` (all, where not given) of older ones; the first key of each row written.

    In order of their keys, so that two transactions never wait for one another in a circle.
    """
    if not rows:
        return []
    rows.sort(key=lambda row: [str(row[name]) for name in key])
    statement = insert(model)
    new: dict[str, Any] = {name: statement.excluded[name] for name in columns or rows[0] if name not in key}
    if capacity:
        total, limit, taken = capacity
        taken_now: InstrumentedAttribute[int] = getattr(model, taken)
        new[limit] = func.greatest(statement.excluded[total], taken_now, type_=Integer)
    first: InstrumentedAttribute[UUID] = getattr(model, key[0])
    statement = statement.on_conflict_do_update(
        index_elements=key, set_=new, where=model.sequence < statement.excluded.sequence
    )
    return list(await session.scalars(statement.returning(first), rows))
