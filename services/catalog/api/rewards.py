"""Routes of the points shop's rewards."""

from __future__ import annotations

from uuid import UUID

from fastapi import Response

from chassis.api import Api, Arriving, Db, IfMatch, Page, Paging, etag
from chassis.auth import PUBLIC, CurrentPrincipal
from services.catalog import rewards
from services.catalog.arrivals import wait_for_area, wait_for_centres
from services.catalog.bodies import NewReward, RewardChanges
from services.catalog.rights import COORDINATING
from services.catalog.views import RewardView

api = Api("rewards")


@api.get("/rewards", policy=PUBLIC)
async def get_rewards(db: Db, paging: Paging, area_id: UUID | None = None) -> Page[RewardView]:
    """Rewards, newest first; an area stands for its subtree."""
    async with db.transaction() as session:
        views, cursor = await rewards.list_rewards(session, area_id, paging)
    return Page(items=list(views), next_cursor=cursor)


@api.post("/rewards", policy=COORDINATING, status_code=201)
async def post_reward(
    body: NewReward, principal: CurrentPrincipal, arrivals: Arriving, db: Db, response: Response
) -> RewardView:
    """Offer a reward at centres of its area."""
    await wait_for_area(arrivals, body.area_id)
    await wait_for_centres(arrivals, [item.centre_id for item in body.stock])
    async with db.transaction() as session:
        view = await rewards.publish_reward(session, principal, body)
    return _tagged(response, view)


@api.get("/rewards/{reward_id}", policy=PUBLIC)
async def get_reward(reward_id: UUID, db: Db, response: Response) -> RewardView:
    """One reward."""
    async with db.transaction() as session:
        view = await rewards.find_reward(session, reward_id)
    return _tagged(response, view)


@api.patch("/rewards/{reward_id}", policy=COORDINATING)
async def patch_reward(
    reward_id: UUID,
    body: RewardChanges,
    principal: CurrentPrincipal,
    if_match: IfMatch,
    arrivals: Arriving,
    db: Db,
    response: Response,
) -> RewardView:
    """Give a reward another price, or another stock: totals by centre, a centre left out has none."""
    if body.stock is not None:
        await wait_for_centres(arrivals, [item.centre_id for item in body.stock])
    async with db.transaction() as session:
        view = await rewards.change_reward(session, principal, reward_id, body, if_match)
    return _tagged(response, view)


def _tagged(response: Response, view: RewardView) -> RewardView:
    response.headers.update(etag(view.version))
    return view
