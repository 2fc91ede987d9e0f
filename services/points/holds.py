"""Holds: points set aside for a redemption until orders says what became of it.

The redemption's facts may come in any order, once or more. An unconfirmed hold times out here; a confirmed one is ended
by orders alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Literal, TypedDict
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.db import Database, world_of
from chassis.outbox import emit
from contracts.event import Envelope
from contracts.orders import (
    RedemptionCancelled,
    RedemptionCollected,
    RedemptionConfirmed,
    RedemptionFact,
    RedemptionRequested,
)
from contracts.points import HoldCaptured, HoldFact, HoldPlaced, HoldRefused, HoldReleased
from services.points.ledger import balances_of, lock_ledger, post
from services.points.models import Hold, Purpose, TransferKind
from services.points.postings import Posting, Reason, Subject, take

HOLD_TIMEOUT_MIN = 10
EXPIRY_POLL_S = 5
EXPIRY_BATCH_MAX = 100


async def place_holds(session: AsyncSession, envelopes: Sequence[Envelope[RedemptionRequested]]) -> None:
    """Handler: set the points aside, or refuse: too few are free, or the redemption is cancelled already."""
    await lock_ledger(session)
    for envelope in envelopes:
        hold = await _hold_of(session, envelope.data)
        if hold.state == "cancelled":
            _refuse(session, hold, "cancelled")
        elif hold.state == "awaited":
            await _place(session, hold, envelope)


async def confirm_holds(session: AsyncSession, envelopes: Sequence[Envelope[RedemptionConfirmed]]) -> None:
    """Handler: from now on the hold has no time-out of its own; remembered when the request is yet to be heard."""
    await lock_ledger(session)
    for envelope in envelopes:
        hold = await _hold_of(session, envelope.data)
        hold.confirmed, hold.expires_at = True, None


async def release_holds(session: AsyncSession, envelopes: Sequence[Envelope[RedemptionCancelled]]) -> None:
    """Handler: give the points back; remembered when the request is yet to be heard, so that it will be refused."""
    await lock_ledger(session)
    for envelope in envelopes:
        hold = await _hold_of(session, envelope.data)
        if hold.state == "awaited":
            hold.state = "cancelled"
        elif hold.state == "placed":
            await _release(session, hold, Reason(envelope.type, envelope.id), "cancelled")


async def capture_holds(session: AsyncSession, envelopes: Sequence[Envelope[RedemptionCollected]]) -> None:
    """Handler: the reward is handed over, so the points are spent, once, whatever was heard before.

    Without a hold (its request is yet to come, or it timed out) they are taken from what is free, the rest is owed.
    """
    await lock_ledger(session)
    for envelope in envelopes:
        hold = await _hold_of(session, envelope.data)
        if hold.state == "captured":
            continue
        moves: dict[Purpose, int] = {"held": -hold.points, "spent": hold.points}
        if hold.state != "placed":
            moves = take(hold.points, await balances_of(session, _holder(hold), "points"), "spent")
        await _move(session, hold, "capture", -hold.points, moves, Reason(envelope.type, envelope.id))
        hold.state, hold.expires_at = "captured", None
        _tell(session, hold, HoldCaptured(**_told(hold)))


async def release_expired(db: Database) -> None:
    """Give back what was held for redemptions that nobody confirmed in time. Copies of the service may all do it."""
    async with db.transaction() as session:
        due = select(Hold.redemption_id).where(Hold.expires_at <= world_of(session).now()).limit(EXPIRY_BATCH_MAX)
        if not (await session.scalars(due)).all():
            return
        await lock_ledger(session)
        expired = select(Hold).where(Hold.redemption_id.in_((await session.scalars(due)).all()))
        for hold in (await session.scalars(expired)).all():
            await _release(session, hold, Reason(), "timed_out")


async def _hold_of(session: AsyncSession, fact: RedemptionFact) -> Hold:
    """The redemption's row; a new one awaits its request."""
    hold = await session.get(Hold, fact.redemption_id)
    if hold is None:
        hold = Hold(
            redemption_id=fact.redemption_id,
            person_id=fact.person_id,
            points=fact.points,
            title=fact.title,
            state="awaited",
            confirmed=False,
            expires_at=None,
            version=0,
        )
        session.add(hold)
    return hold


async def _place(session: AsyncSession, hold: Hold, envelope: Envelope[RedemptionRequested]) -> None:
    free = (await balances_of(session, _holder(hold), "points")).main
    if free < hold.points:
        _refuse(session, hold, "insufficient_points")
        return
    moves: dict[Purpose, int] = {"main": -hold.points, "held": hold.points}
    await _move(session, hold, "hold", -hold.points, moves, Reason(envelope.type, envelope.id))
    hold.state = "placed"
    if not hold.confirmed:
        hold.expires_at = world_of(session).now() + timedelta(minutes=HOLD_TIMEOUT_MIN)
    _tell(session, hold, HoldPlaced(**_told(hold)))


def _refuse(session: AsyncSession, hold: Hold, reason: Literal["insufficient_points", "cancelled"]) -> None:
    hold.state = "refused"
    _tell(session, hold, HoldRefused(**_told(hold), reason=reason))


async def _release(session: AsyncSession, hold: Hold, why: Reason, reason: Literal["cancelled", "timed_out"]) -> None:
    moves: dict[Purpose, int] = {"held": -hold.points, "main": hold.points}
    await _move(session, hold, "release", hold.points, moves, why)
    hold.state, hold.expires_at = "released", None
    _tell(session, hold, HoldReleased(**_told(hold), reason=reason))


async def _move(
    session: AsyncSession,
    hold: Hold,
    kind: TransferKind,
    amount: int,
    moves: dict[Purpose, int],
    reason: Reason,
) -> None:
    if not hold.points:
        return
    posting = Posting(
        id=world_of(session).new_id(),
        kind=kind,
        dedupe_key=str(hold.redemption_id),
        subject=_holder(hold),
        asset="points",
        amount=amount,
        moves=moves,
        title=hold.title,
        reason=reason,
    )
    if not await post(session, [posting]):
        raise AssertionError(f"redemption {hold.redemption_id} has its {kind} already, but its hold is {hold.state}")


def _holder(hold: Hold) -> Subject:
    return Subject("person", hold.person_id)


class _Told(TypedDict):
    redemption_id: UUID
    person_id: UUID
    points: int


def _told(hold: Hold) -> _Told:
    return {"redemption_id": hold.redemption_id, "person_id": hold.person_id, "points": hold.points}


def _tell(session: AsyncSession, hold: Hold, fact: HoldFact) -> None:
    hold.version += 1
    emit(session, fact, sequence=hold.version)
