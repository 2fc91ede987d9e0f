"""Controls: installations with one weaker part each. The simulation has to see the damage that each of them does."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.db import world_of
from contracts.catalog import SessionChanged, SessionScheduled
from contracts.event import Envelope
from contracts.orders import AttendanceVoided, ClaimReleased, RedemptionCancelled
from contracts.points import HoldPlaced
from services.orders.claims import accept_claims
from services.orders.handlers import HANDLERS as ORDERS
from services.orders.models import ProductOffer, SessionOffer
from services.orders.models.redemptions import Redemption
from services.orders.redemptions import place_redemptions
from services.points.handlers import HANDLERS as POINTS
from services.points.models import Attendance, Hold, ReleasedClaim
from tests.chassis.parts import ForgetfulInbox, HastyRelay
from tests.simulation.parts import Build

Envelopes = Sequence[Envelope[Any]]


async def follow_any_version(session: AsyncSession, envelopes: Envelopes) -> None:
    """A copy that takes over whatever comes last, older versions too."""
    ids = [envelope.data.session_id for envelope in envelopes]
    await session.execute(update(SessionOffer).where(SessionOffer.session_id.in_(ids)).values(sequence=0))
    await ORDERS[type(envelopes[0].data)](session, envelopes)


async def release_without_tombstone(session: AsyncSession, envelopes: Envelopes) -> None:
    """Forgets a cancellation that comes before its request."""
    await POINTS[RedemptionCancelled](session, envelopes)
    await session.flush()
    await session.execute(delete(Hold).where(Hold.state == "cancelled"))


async def confirm_only_requested(session: AsyncSession, envelopes: Envelopes) -> None:
    """Does not cancel once more what was cancelled before its hold was placed: the second line of the tombstone."""
    ids = [envelope.data.redemption_id for envelope in envelopes]
    ended = select(Redemption.id).where(Redemption.id.in_(ids), Redemption.status.in_(["cancelled", "refused"]))
    over = set(await session.scalars(ended))
    if open_ones := [envelope for envelope in envelopes if envelope.data.redemption_id not in over]:
        await ORDERS[HoldPlaced](session, open_ones)


async def forget_voidings(session: AsyncSession, envelopes: Envelopes) -> None:
    """Forgets that an attendance is void where its check-in is yet to come."""
    await POINTS[AttendanceVoided](session, envelopes)
    await session.execute(delete(Attendance).where(Attendance.event_id.is_(None)))


async def forget_releases(session: AsyncSession, envelopes: Envelopes) -> None:
    """Forgets which claims were released, also where their acceptance is yet to come."""
    await POINTS[ClaimReleased](session, envelopes)
    await session.execute(delete(ReleasedClaim))


async def accept_without_counting(session: AsyncSession, requests: Any) -> Any:
    """Accepts claims without looking whether a place is left."""
    ids = [request.product_id for request in requests]
    more = update(ProductOffer).where(ProductOffer.product_id.in_(ids))
    await session.execute(more.values(claim_limit=ProductOffer.claim_limit + 1))
    return await accept_claims(session, requests)


async def place_without_keys(session: AsyncSession, requests: Any) -> Any:
    """Takes every request for a new one, whatever its key."""
    fresh = world_of(session).new_id
    keyless = [
        dataclasses.replace(request, key=dataclasses.replace(request.key, key=fresh().hex)) for request in requests
    ]
    return await place_redemptions(session, keyless)


CONTROLS = {
    "an inbox that does not know what it had": Build(inbox=ForgetfulInbox),
    "a relay that deletes before it publishes": Build(relay=HastyRelay),
    "a copy that applies any version": Build(
        handlers={"orders": dict.fromkeys((SessionScheduled, SessionChanged), follow_any_version)}
    ),
    "a saga without tombstones": Build(
        handlers={
            "points": {RedemptionCancelled: release_without_tombstone},
            "orders": {HoldPlaced: confirm_only_requested},
        }
    ),
    "voidings that are forgotten": Build(handlers={"points": {AttendanceVoided: forget_voidings}}),
    "releases that are forgotten": Build(handlers={"points": {ClaimReleased: forget_releases}}),
    "claims without a count": Build(accept_claims=accept_without_counting),
    "redemptions without keys": Build(place_redemptions=place_without_keys),
}
