"""Rewards of the points shop: price and stock by centre. Orders decides who gets one."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from chassis import scopes
from chassis.api import PageRequest, require_match
from chassis.audit import note
from chassis.db import world_of
from chassis.errors import InvalidInput, NotFound
from chassis.outbox import emit
from chassis.tables import scopes as areas
from chassis.tokens import Principal
from contracts.catalog import CentreStock, RewardPublished
from services.catalog.bodies import NewReward, RewardChanges, RewardStockItem
from services.catalog.copies import Centre
from services.catalog.models import Reward, RewardStock
from services.catalog.pages import newest_first
from services.catalog.rights import require_coordinator
from services.catalog.views import RewardView, view_reward


async def publish_reward(session: AsyncSession, principal: Principal, new: NewReward) -> RewardView:
    """A new reward, to be had at centres of its area."""
    await require_coordinator(session, principal, new.area_id)
    reward = Reward(
        id=world_of(session).new_id(),
        area_path=list(await scopes.path_of(session, new.area_id)),
        version=1,
        **new.model_dump(exclude={"stock"}),
    )
    await _require_centres_within(session, reward.area_id, new.stock)
    session.add(reward)
    await session.flush()
    await _put_stock(session, reward, new.stock)
    note(session, principal.person_id, "publish_reward", reward.id)
    return await _tell(session, reward)


async def change_reward(
    session: AsyncSession, principal: Principal, reward_id: UUID, changes: RewardChanges, if_match: str | None
) -> RewardView:
    """The reward with another price or stock; a centre that the stock leaves out is told to have none."""
    reward = await session.get(Reward, reward_id, with_for_update={"key_share": True})
    if reward is None:
        raise NotFound()
    await require_coordinator(session, principal, reward.area_id)
    require_match(if_match, reward.version)
    changed = changes.model_dump(exclude_none=True)
    if not changed:
        return (await view_rewards(session, [reward]))[0]
    note(session, principal.person_id, "change_reward", reward.id, fields=", ".join(changed))
    for name, value in changes.model_dump(exclude_none=True, exclude={"stock"}).items():
        setattr(reward, name, value)
    if changes.stock is not None:
        await _require_centres_within(session, reward.area_id, changes.stock)
        await _put_stock(session, reward, changes.stock)
    reward.version += 1
    return await _tell(session, reward)


async def find_reward(session: AsyncSession, reward_id: UUID) -> RewardView:
    """The reward: all rewards are public."""
    reward = await session.get(Reward, reward_id)
    if reward is None:
        raise NotFound()
    return (await view_rewards(session, [reward]))[0]


async def list_rewards(
    session: AsyncSession, area_id: UUID | None, asked: PageRequest
) -> tuple[Sequence[RewardView], str | None]:
    """Rewards, newest first; an area stands for its subtree."""
    query = select(Reward)
    if area_id is not None:
        query = query.where(Reward.area_path.contains([area_id]))
    rewards, cursor = await newest_first(session, query, Reward, asked)
    return await view_rewards(session, rewards), cursor


async def view_rewards(session: AsyncSession, rewards: Sequence[Reward]) -> list[RewardView]:
    """The rewards with their stock."""
    ids = [reward.id for reward in rewards]
    rows = select(RewardStock).where(RewardStock.reward_id.in_(ids)).order_by(RewardStock.centre_id)
    stock: dict[UUID, list[CentreStock]] = {}
    for row in (await session.scalars(rows)).all() if ids else ():
        stock.setdefault(row.reward_id, []).append(CentreStock(centre_id=row.centre_id, total=row.total))
    return [view_reward(reward, stock.get(reward.id, [])) for reward in rewards]


async def _tell(session: AsyncSession, reward: Reward) -> RewardView:
    await session.flush()
    view = (await view_rewards(session, [reward]))[0]
    fact = RewardPublished(
        reward_id=reward.id,
        area_id=reward.area_id,
        title=reward.title,
        cost_points=reward.cost_points,
        stock=view.stock,
    )
    emit(session, fact, sequence=reward.version)
    return view


async def _put_stock(session: AsyncSession, reward: Reward, stock: Sequence[RewardStockItem]) -> None:
    totals = {item.centre_id: item.total for item in stock}
    rows = (await session.scalars(select(RewardStock).where(RewardStock.reward_id == reward.id))).all()
    for row in rows:
        row.total = totals.pop(row.centre_id, 0)
    session.add_all(
        RewardStock(reward_id=reward.id, centre_id=centre_id, total=total) for centre_id, total in totals.items()
    )


async def _require_centres_within(session: AsyncSession, area_id: UUID, stock: Sequence[RewardStockItem]) -> None:
    """Raise InvalidInput for a centre outside the reward's area: its coordinators have no say there."""
    named = [item.centre_id for item in stock]
    within = select(Centre.id).join(areas, areas.c.id == Centre.area_id).where(areas.c.path.contains([area_id]))
    known = set((await session.scalars(within.where(Centre.id.in_(named)))).all())
    outside = [index for index, centre_id in enumerate(named) if centre_id not in known]
    if outside:
        raise InvalidInput(*((f"body.stock.{index}.centre_id", "exists", {"thing": "centre"}) for index in outside))
