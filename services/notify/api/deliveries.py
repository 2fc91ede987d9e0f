"""Route of a person's delivery log."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import select

from chassis.api import Api, Db, Page, Paging, page
from chassis.auth import SIGNED_IN, CurrentPrincipal
from services.notify.models import Delivery, DeliveryState

api = Api("messages")


class DeliveryView(BaseModel):
    """What became of a message in a channel, and when that last changed."""

    id: UUID
    channel: str
    state: DeliveryState
    template: str
    at: datetime


@api.get("/me/deliveries", policy=SIGNED_IN)
async def list_my_deliveries(db: Db, principal: CurrentPrincipal, paging: Paging) -> Page[DeliveryView]:
    """What was sent to me by SMS, newest first."""
    before = paging.after_id()
    mine = select(Delivery).where(Delivery.person_id == principal.person_id)
    if before is not None:
        mine = mine.where(Delivery.id < before)
    async with db.transaction() as session:
        rows = (await session.scalars(mine.order_by(Delivery.id.desc()).limit(paging.limit + 1))).all()
    shown, cursor = page(rows, paging.limit, lambda delivery: (delivery.id,))
    return Page(items=[_view(delivery) for delivery in shown], next_cursor=cursor)


def _view(delivery: Delivery) -> DeliveryView:
    return DeliveryView(
        id=delivery.id,
        channel=delivery.channel,
        state=delivery.state,
        template=delivery.template,
        at=delivery.changed_at,
    )
