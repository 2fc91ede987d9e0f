"""Routes of redemptions."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.api import Api, Arriving, Body, Db, Page, Paging, Words, page
from chassis.auth import SIGNED_IN, CurrentPrincipal, roles
from chassis.idempotency import Keyed
from services.orders.models import RewardOffer
from services.orders.parts import CurrentParts
from services.orders.redemptions import (
    RedemptionRequest,
    RedemptionView,
    cancel_redemption,
    collect_redemption,
    list_redemptions,
    read_redemption,
    view_for,
)

QUANTITY_MAX = 100

api = Api("redemptions")


class NewRedemption(Body):
    """How many pieces, and at which centre they are to be collected."""

    centre_id: UUID
    quantity: Annotated[int, Field(ge=1, le=QUANTITY_MAX, strict=True)]


class Collection(Body):
    """The code that the person shows at the centre; small letters, spaces and hyphens are fine."""

    pickup_code: Annotated[str, Words(40)]


@api.post("/rewards/{reward_id}/redemptions", policy=SIGNED_IN, status_code=202)
async def redeem(
    reward_id: UUID,
    body: NewRedemption,
    principal: CurrentPrincipal,
    key: Keyed,
    arriving: Arriving,
    parts: CurrentParts,
) -> RedemptionView:
    """Reserve a reward and ask for its points; the answer to that is read at the redemption. 409: `out_of_stock`."""

    async def offer(session: AsyncSession) -> RewardOffer | None:
        return await session.get(RewardOffer, (reward_id, body.centre_id))

    request = RedemptionRequest(reward_id, body.centre_id, body.quantity, principal.person_id, key)
    return await arriving.then(lambda: parts.redemptions.submit(request), offer)


@api.post("/redemptions/collect", policy=roles("merchant", "coordinator", "operator", "device"), status_code=200)
async def hand_over(body: Collection, principal: CurrentPrincipal, db: Db) -> RedemptionView:
    """Note that a reward was handed over for its code. 409: `already_collected`, `redemption_ended`."""
    async with db.transaction() as session:
        return await collect_redemption(session, principal, body.pickup_code)


@api.get("/redemptions/{redemption_id}", policy=SIGNED_IN)
async def get_redemption(redemption_id: UUID, principal: CurrentPrincipal, db: Db) -> RedemptionView:
    """One's own redemption, or one to be handed out in one's area."""
    async with db.transaction() as session:
        return await read_redemption(session, principal, redemption_id)


@api.post("/redemptions/{redemption_id}/cancel", policy=SIGNED_IN)
async def call_off(redemption_id: UUID, principal: CurrentPrincipal, db: Db) -> RedemptionView:
    """Call a redemption off; stock and points are free again. 409: `already_collected`."""
    async with db.transaction() as session:
        return await cancel_redemption(session, principal, redemption_id)


@api.get("/me/redemptions", policy=SIGNED_IN)
async def my_redemptions(principal: CurrentPrincipal, paging: Paging, db: Db) -> Page[RedemptionView]:
    """My redemptions, newest first."""
    async with db.transaction() as session:
        rows = await list_redemptions(session, principal.person_id, paging.after_id(), paging.limit)
    shown, cursor = page(rows, paging.limit, lambda redemption: (redemption.id,))
    return Page(items=[view_for(redemption, principal.person_id) for redemption in shown], next_cursor=cursor)
