"""The points shop of the tests: a reward with its stock at one centre, and facts about holds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import select

from chassis.tokens import Grant
from contracts.catalog import CentreStock, RewardPublished
from contracts.members import CentreOpened
from contracts.orders import (
    RedemptionCancelled,
    RedemptionCollected,
    RedemptionConfirmed,
    RedemptionFact,
    RedemptionRefused,
    RedemptionRequested,
)
from contracts.points import HoldFact, HoldPlaced, HoldRefused, HoldReleased
from services.orders.models import RewardOffer
from services.orders.models.redemptions import Redemption
from tests.harness import Person, ServiceUnderTest

COST = 30
OPEN = {"requested", "confirmed"}
HAS_STOCK = {"requested", "confirmed", "collected", "completed"}
REDEMPTION_FACTS: tuple[type[RedemptionFact], ...] = (
    RedemptionRequested,
    RedemptionConfirmed,
    RedemptionRefused,
    RedemptionCancelled,
    RedemptionCollected,
)


@dataclass(frozen=True)
class Shop:
    """A reward with so many pieces at one centre; the reward is for the whole town, the centre is a community's."""

    orders: ServiceUnderTest
    published: RewardPublished
    area_id: UUID

    @property
    def centre_id(self) -> UUID:
        return self.published.stock[0].centre_id

    async def redeem(self, person: Person, quantity: int = 1, **options: Any) -> Any:
        body = {"centre_id": str(self.centre_id), "quantity": quantity}
        return await self.orders.post(
            f"/rewards/{self.published.reward_id}/redemptions", person=person, json=body, **options
        )

    async def see(self, person: Person, redemption_id: object) -> dict[str, Any]:
        answer = await self.orders.get(f"/redemptions/{redemption_id}", person=person)
        assert answer.status_code == 200, answer.text
        seen: dict[str, Any] = answer.json()
        return seen

    async def confirmed(self, person: Person, quantity: int = 1) -> dict[str, Any]:
        asked = (await self.redeem(person, quantity)).json()
        await self.orders.receive(hold(HoldPlaced, asked["id"]))
        return await self.see(person, asked["id"])

    async def collect(self, by: Person, code: str) -> Any:
        return await self.orders.post("/redemptions/collect", person=by, json={"pickup_code": code})

    async def cancel(self, by: Person, redemption_id: object) -> Any:
        return await self.orders.post(f"/redemptions/{redemption_id}/cancel", person=by)

    async def taken(self) -> int:
        """Pieces counted as taken, which is always the sum of what redemptions have."""
        async with self.orders.db.transaction() as session:
            offer = await session.get_one(RewardOffer, (self.published.reward_id, self.centre_id))
            rows = (
                await session.scalars(select(Redemption).where(Redemption.reward_id == self.published.reward_id))
            ).all()
        assert offer.stock_taken == sum(row.quantity for row in rows if row.status in HAS_STOCK)
        assert offer.stock_limit == max(offer.stock_total, offer.stock_taken)
        return offer.stock_taken

    async def statuses(self) -> Counter[str]:
        async with self.orders.db.transaction() as session:
            mine = select(Redemption.status).where(Redemption.reward_id == self.published.reward_id)
            return Counter(await session.scalars(mine))


async def open_shop(orders: ServiceUnderTest, stock: int = 10) -> Shop:
    town = await orders.add_area()
    community = await orders.add_area(parents=[town])
    centre = CentreOpened(centre_id=uuid4(), area_id=community, name="党群服务中心", address="玉林北路 1 号")
    published = RewardPublished(
        reward_id=uuid4(),
        area_id=town,
        title="大米一袋",
        cost_points=COST,
        stock=[CentreStock(centre_id=centre.centre_id, total=stock)],
    )
    await orders.receive(centre, published)
    return Shop(orders, published, community)


def hold(kind: type[HoldFact], redemption_id: object, **more: Any) -> HoldFact:
    if kind is HoldRefused:
        more.setdefault("reason", "insufficient_points")
    if kind is HoldReleased:
        more.setdefault("reason", "timed_out")
    return kind(redemption_id=UUID(str(redemption_id)), person_id=uuid4(), points=COST, **more)


def merchant(area_id: UUID) -> Person:
    return Person(grants=(Grant(role="merchant", area_id=area_id),))
