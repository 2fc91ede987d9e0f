"""Redemptions (兑换): a saga with the hold on points, its state one locked row here.

    requested → confirmed → collected → completed      (stock stays taken)
        ↓ ↘         ↓
    refused  →  cancelled                              (stock is given back)

Requests and deadlines stand here, what becomes of the hold in `holds.py`. Locks are taken in one order, redemptions
before stock, each by key, so that nobody waits in a circle.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import ColumnElement, func, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from chassis import scopes
from chassis.audit import note
from chassis.db import Database, world_of
from chassis.errors import NotArrived, NotFound, Refusal
from chassis.idempotency import IdempotencyKey, once_each
from chassis.outbox import emit
from chassis.telemetry import following
from chassis.tokens import Principal
from contracts.orders import (
    RedemptionCancelled,
    RedemptionCollected,
    RedemptionFact,
    RedemptionRequested,
)
from services.orders.models import Centre, RewardOffer
from services.orders.models.redemptions import Redemption
from services.orders.refusals import AlreadyCollected, NotReadyForCollection, OutOfStock
from services.orders.tickets import as_printed

REQUEST_DEADLINE_S = 60
COLLECTION_DEADLINE_DAYS = 14
OVERDUE_BATCH_MAX = 200

Status = Literal["requested", "confirmed", "collected", "completed", "refused", "cancelled"]
CancelReason = Literal["person", "no_answer", "not_collected"]


class RedemptionView(BaseModel):
    """A redemption; its owner alone sees `pickup_code`, while the reward waits. `deadline`: when it ends by itself."""

    id: UUID
    reward_id: UUID
    centre_id: UUID
    title: str
    quantity: int
    points: int
    status: Status
    pickup_code: str | None
    reason: str | None
    created_at: datetime
    deadline: datetime | None


@dataclass(frozen=True, slots=True)
class RedemptionRequest:
    """Somebody's wish for some pieces of a reward from a centre's stock."""

    reward_id: UUID
    centre_id: UUID
    quantity: int
    person_id: UUID
    key: IdempotencyKey


async def place_redemptions(
    session: AsyncSession, requests: Sequence[RedemptionRequest]
) -> list[RedemptionView | Refusal]:
    """Reserve stock for each request in order of arrival, ask for its points; OutOfStock or NotArrived for the rest."""
    wanted = {(request.reward_id, request.centre_id) for request in requests}
    offer_key = tuple_(RewardOffer.reward_id, RewardOffer.centre_id)
    locked = select(RewardOffer).where(offer_key.in_(wanted)).order_by(RewardOffer.reward_id, RewardOffer.centre_id)
    offers = {(offer.reward_id, offer.centre_id): offer for offer in await session.scalars(locked.with_for_update())}

    async def decide(fresh: Sequence[RedemptionRequest]) -> list[RedemptionView | Refusal]:
        answers = []
        for request in fresh:
            with following(request.key.origin):
                answers.append(_place(session, offers.get((request.reward_id, request.centre_id)), request))
        return answers

    return await once_each(session, requests, decide, RedemptionView)


def _place(session: AsyncSession, offer: RewardOffer | None, request: RedemptionRequest) -> RedemptionView | Refusal:
    if offer is None:
        return NotArrived()
    if offer.stock_taken + request.quantity > offer.stock_limit:
        return OutOfStock()
    offer.stock_taken += request.quantity
    world = world_of(session)
    now = world.now()
    redemption = Redemption(
        id=world.new_id(),
        reward_id=offer.reward_id,
        centre_id=offer.centre_id,
        area_id=offer.area_id,
        title=offer.title,
        person_id=request.person_id,
        quantity=request.quantity,
        points=offer.cost_points * request.quantity,
        status="requested",
        deadline=now + timedelta(seconds=REQUEST_DEADLINE_S),
        created_at=now,
        version=0,
    )
    session.add(redemption)
    tell(session, redemption, RedemptionRequested)
    return view_for(redemption, request.person_id)


async def cancel_redemption(session: AsyncSession, principal: Principal, redemption_id: UUID) -> RedemptionView:
    """End a redemption before the reward is handed over; one that ended already answers as it is."""
    redemption = await _locked(session, Redemption.id == redemption_id)
    await _require_party(session, principal, redemption, "coordinator", "operator")
    if redemption.status in {"collected", "completed"}:
        raise AlreadyCollected()
    if redemption.status in {"requested", "confirmed"}:
        cancel(session, redemption, "person")
        await give_back_stock(session, [redemption])
        if redemption.person_id != principal.person_id:
            note(session, principal.person_id, "cancel_redemption", redemption.id)
    return view_for(redemption, principal.person_id)


async def collect_redemption(session: AsyncSession, principal: Principal, pickup_code: str) -> RedemptionView:
    """Note, once, that the reward was handed over to whoever brought the code (typed in any case)."""
    redemption = await _locked(session, Redemption.pickup_code == as_printed(pickup_code))
    area_id = await _area_of_centre(session, redemption)
    await scopes.require(session, principal, area_id, "merchant", "coordinator", "operator", "device")
    if redemption.status in {"collected", "completed"}:
        raise AlreadyCollected()
    if redemption.status != "confirmed":
        raise NotReadyForCollection()
    redemption.status, redemption.deadline = "collected", None
    tell(session, redemption, RedemptionCollected)
    note(session, principal.person_id, "hand_out_reward", redemption.id)
    return view_for(redemption, principal.person_id)


async def cancel_redemptions_of(session: AsyncSession, person_id: UUID) -> None:
    """End every redemption of a person whose reward was not handed over."""
    still_open = Redemption.status.in_(("requested", "confirmed"))
    mine = select(Redemption).where(Redemption.person_id == person_id, still_open).order_by(Redemption.id)
    redemptions = (await session.scalars(mine.with_for_update())).all()
    for redemption in redemptions:
        cancel(session, redemption, "person")
    await give_back_stock(session, redemptions)


async def end_overdue(db: Database) -> None:
    """End the redemptions whose deadline has passed: no answer about the points, or nobody came for the reward."""
    ended = OVERDUE_BATCH_MAX
    while ended == OVERDUE_BATCH_MAX:
        async with db.transaction() as session:
            overdue = (
                select(Redemption)
                .where(Redemption.deadline <= db.world.now())
                .order_by(Redemption.deadline)
                .limit(OVERDUE_BATCH_MAX)
                .with_for_update(skip_locked=True)
            )
            redemptions = (await session.scalars(overdue)).all()
            for redemption in redemptions:
                cancel(session, redemption, "no_answer" if redemption.status == "requested" else "not_collected")
            await give_back_stock(session, redemptions)
            ended = len(redemptions)


async def read_redemption(session: AsyncSession, principal: Principal, redemption_id: UUID) -> RedemptionView:
    """The redemption, for its owner and for those who hand rewards out in its area."""
    redemption = await session.get(Redemption, redemption_id)
    if redemption is None:
        raise NotFound()
    await _require_party(session, principal, redemption, "coordinator", "merchant", "operator")
    return view_for(redemption, principal.person_id)


async def list_redemptions(
    session: AsyncSession, person_id: UUID, before: UUID | None, limit: int
) -> Sequence[Redemption]:
    """A person's redemptions, newest first, one more than `limit` if there are."""
    mine = select(Redemption).where(Redemption.person_id == person_id).order_by(Redemption.id.desc())
    if before is not None:
        mine = mine.where(Redemption.id < before)
    return (await session.scalars(mine.limit(limit + 1))).all()


def view_for(redemption: Redemption, reader_id: UUID) -> RedemptionView:
    """The redemption as this reader may see it."""
    shows_code = redemption.status == "confirmed" and redemption.person_id == reader_id
    return RedemptionView(
        id=redemption.id,
        reward_id=redemption.reward_id,
        centre_id=redemption.centre_id,
        title=redemption.title,
        quantity=redemption.quantity,
        points=redemption.points,
        status=redemption.status,  # type: ignore[arg-type]
        pickup_code=redemption.pickup_code if shows_code else None,
        reason=redemption.reason,
        created_at=redemption.created_at,
        deadline=redemption.deadline,
    )


def cancel(session: AsyncSession, redemption: Redemption, reason: CancelReason) -> None:
    """End a locked redemption and let points free what it holds for it; the stock is the caller's to give back."""
    redemption.status, redemption.reason, redemption.deadline = "cancelled", reason, None
    tell(session, redemption, RedemptionCancelled, reason=reason)


async def give_back_stock(session: AsyncSession, ended: Sequence[Redemption]) -> None:
    """Return the pieces of redemptions that have just ended. A stock lowered meanwhile is not exceeded again."""
    pieces: Counter[tuple[UUID, UUID]] = Counter()
    for redemption in ended:
        pieces[redemption.reward_id, redemption.centre_id] += redemption.quantity
    for (reward_id, centre_id), quantity in sorted(pieces.items()):
        left = RewardOffer.stock_taken - quantity
        await session.execute(
            update(RewardOffer)
            .where(RewardOffer.reward_id == reward_id, RewardOffer.centre_id == centre_id)
            .values(stock_taken=left, stock_limit=func.greatest(RewardOffer.stock_total, left))
        )


def tell(session: AsyncSession, redemption: Redemption, kind: type[RedemptionFact], **more: Any) -> None:
    """Emit a fact about a locked redemption, as its next version."""
    redemption.version += 1
    fact = kind(
        redemption_id=redemption.id,
        reward_id=redemption.reward_id,
        centre_id=redemption.centre_id,
        area_id=redemption.area_id,
        title=redemption.title,
        person_id=redemption.person_id,
        quantity=redemption.quantity,
        points=redemption.points,
        **more,
    )
    emit(session, fact, sequence=redemption.version)


async def _locked(session: AsyncSession, which: ColumnElement[bool]) -> Redemption:
    redemption: Redemption | None = await session.scalar(select(Redemption).where(which).with_for_update())
    if redemption is None:
        raise NotFound()
    return redemption


async def _require_party(session: AsyncSession, principal: Principal, redemption: Redemption, *roles: str) -> None:
    """Raise NotFound for whoever is neither the owner nor holds one of the roles where the reward waits."""
    if redemption.person_id == principal.person_id:
        return
    if not await scopes.covers(session, principal, await _area_of_centre(session, redemption), *roles):
        raise NotFound()


async def _area_of_centre(session: AsyncSession, redemption: Redemption) -> UUID:
    centre = await session.get(Centre, redemption.centre_id)
    return redemption.area_id if centre is None else centre.area_id
