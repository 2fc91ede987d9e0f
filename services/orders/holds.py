"""What becomes of the hold on somebody's points, and so of their redemption (`redemptions.py`).

Facts come in any order and more than once: `TRANSITIONS` says what each one does in each state; where it names nothing,
nothing changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.db import world_of
from chassis.world import World
from contracts.event import Envelope
from contracts.orders import RedemptionCancelled, RedemptionConfirmed, RedemptionRefused
from contracts.points import HoldCaptured, HoldFact, HoldPlaced, HoldRefused, HoldReleased
from services.orders.models.redemptions import Redemption
from services.orders.redemptions import (
    COLLECTION_DEADLINE_DAYS,
    cancel,
    give_back_stock,
    tell,
)
from services.orders.tickets import TICKET_ALPHABET

PICKUP_CODE_CHARACTERS = 10

HoldEnvelopes = Sequence[Envelope[HoldFact]]
Transition = Callable[[AsyncSession, Redemption, HoldFact], None]


class UnknownRedemption(LookupError):
    """A hold for a redemption that is not here: to be retried, then looked at by a person."""


class ContradictoryHold(ValueError):
    """The points of a redemption that was not collected are spent: to be looked at by a person."""


async def follow_hold(session: AsyncSession, envelopes: HoldEnvelopes) -> None:
    """Handler: move each hold's redemption on, and give back the stock of those that end."""
    ids = {envelope.data.redemption_id for envelope in envelopes}
    locked = select(Redemption).where(Redemption.id.in_(ids)).order_by(Redemption.id).with_for_update()
    redemptions = {redemption.id: redemption for redemption in await session.scalars(locked)}
    ended = []
    for envelope in envelopes:
        redemption = redemptions.get(envelope.data.redemption_id)
        if redemption is None:
            raise UnknownRedemption(str(envelope.data.redemption_id))
        transition = TRANSITIONS[type(envelope.data)].get(redemption.status)
        if transition is None:
            continue
        was_open = redemption.deadline is not None
        transition(session, redemption, envelope.data)
        if was_open and redemption.deadline is None:
            ended.append(redemption)
    await give_back_stock(session, ended)


def _confirm(session: AsyncSession, redemption: Redemption, _: HoldFact) -> None:
    world = world_of(session)
    redemption.status = "confirmed"
    redemption.pickup_code = _pickup_code(world)
    redemption.deadline = world.now() + timedelta(days=COLLECTION_DEADLINE_DAYS)
    tell(session, redemption, RedemptionConfirmed)


def _pickup_code(world: World) -> str:
    return "".join(world.random.choices(TICKET_ALPHABET, k=PICKUP_CODE_CHARACTERS))


def _refuse(session: AsyncSession, redemption: Redemption, hold: HoldFact) -> None:
    reason = hold.reason if isinstance(hold, HoldRefused) else "cancelled"
    redemption.status, redemption.reason, redemption.deadline = "refused", reason, None
    tell(session, redemption, RedemptionRefused, reason=reason)


def _cancel(session: AsyncSession, redemption: Redemption, _: HoldFact) -> None:
    cancel(session, redemption, "no_answer")


def _cancel_again(session: AsyncSession, redemption: Redemption, _: HoldFact) -> None:
    """The hold came after the end: whatever points has heard so far, this higher version frees it."""
    given = {"person": "person", "not_collected": "not_collected"}
    tell(session, redemption, RedemptionCancelled, reason=given.get(redemption.reason or "", "no_answer"))


def _complete(_session: AsyncSession, redemption: Redemption, _: HoldFact) -> None:
    redemption.status = "completed"


def _contradict(_session: AsyncSession, redemption: Redemption, _: HoldFact) -> None:
    raise ContradictoryHold(f"{redemption.id} is {redemption.status}")


TRANSITIONS: Mapping[type[HoldFact], Mapping[str, Transition]] = {
    HoldPlaced: {"requested": _confirm, "cancelled": _cancel_again, "refused": _cancel_again},
    HoldRefused: {"requested": _refuse, "confirmed": _cancel},
    # Points may time a hold out only before it hears of the confirmation; without a hold nothing is handed out.
    HoldReleased: {"requested": _cancel, "confirmed": _cancel},
    HoldCaptured: {
        "collected": _complete,
        "requested": _contradict,
        "confirmed": _contradict,
        "refused": _contradict,
        "cancelled": _contradict,
    },
}
