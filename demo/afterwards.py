"""What follows: reviews by those who were served, points, a reward from the points shop."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from demo.client import Account, Stopped, Thing
from demo.places import TIMEZONE
from demo.script import COMMUNITY, REDEMPTION, STAR
from demo.stage import Stage, Steps

SETTLING_S = 30.0
POLL_S = 0.2
BOARD_ITEMS = 100


async def review(stage: Stage, steps: Steps) -> None:
    """Residents give stars to the sessions that they attended; all of them are of completed projects."""

    async def review_one(said: Thing) -> None:
        product_id, author_id = stage.ids[said["product"]], stage.ids[said["author"]]
        posted = await stage.operator.list(f"/products/{product_id}/reviews")
        if not any(review["author_id"] == author_id for review in posted):
            booking = stage.bookings[author_id, said["product"]]
            account = await stage.account(said["author"])
            subject = {"type": "session", "id": booking["session_id"]}
            await account.post("/reviews", {"subject": subject, "stars": said["stars"], "text": said["text"]})

    await steps.each(stage.script.reviews, review_one)


async def settle(stage: Stage, steps: Steps) -> None:
    """Wait for the points of every participation. What is missing in the end, the report says."""
    expected = {stage.ids[person]: points for person, points in stage.script.scores().items()}

    async def wait(_: str) -> None:
        until = time.monotonic() + SETTLING_S
        while time.monotonic() < until:
            board = await leaderboard(stage)
            if expected.items() <= {item["subject_id"]: item["score"] for item in board["items"]}.items():
                return
            await asyncio.sleep(POLL_S)

    await steps.each([COMMUNITY], wait)


async def leaderboard(stage: Stage) -> Thing:
    """Members' points in the community and all below it, with the star's own place.

    The season is the year in which the star's points came, so that the story ends as it did when next year has begun.
    """
    account = await stage.account(STAR)
    newest = (await account.get("/me/points", asset="points", limit=1))["entries"]
    at = datetime.fromisoformat(newest[0]["at"]) if newest else datetime.now(UTC)
    season = at.astimezone(ZoneInfo(TIMEZONE)).year
    board: Thing = await account.get(
        "/leaderboards", area_id=stage.ids[COMMUNITY], kind="member_points", season=season, limit=BOARD_ITEMS
    )
    return board


async def redeem(stage: Stage, steps: Steps) -> None:
    """A member exchanges points for a reward, which the points shop's clerk hands over for the pick-up code."""

    async def redeem_one(plan: tuple[str, str, str, str]) -> None:
        reward, person, centre, clerk = plan
        account = await stage.account(person)
        redemption = await _redemption(stage, account, reward)
        if redemption is None:
            path, body = f"/rewards/{stage.ids[reward]}/redemptions", {"centre_id": stage.ids[centre], "quantity": 1}
            redemption = await account.post(path, body, key=f"redemption-{person}-{reward}")
        redemption = await _once_past(account, redemption, "requested")
        if redemption["status"] == "confirmed":
            shop = await stage.account(clerk)
            await shop.post("/redemptions/collect", {"pickup_code": redemption["pickup_code"]})
            redemption = await _once_past(account, redemption, "confirmed", "collected")
        if redemption["status"] != "completed":
            raise Stopped(f"The redemption of {reward} is {redemption['status']} ({redemption['reason']}).")

    await steps.each([REDEMPTION], redeem_one)


async def _redemption(stage: Stage, account: Account, reward: str) -> Thing | None:
    """The redemption of the reward from an earlier run, if it still stands."""
    for redemption in await account.list("/me/redemptions"):
        if redemption["reward_id"] == stage.ids[reward] and redemption["status"] not in {"refused", "cancelled"}:
            return redemption
    return None


async def _once_past(account: Account, redemption: Thing, *statuses: str) -> Thing:
    """The redemption as soon as it has none of these statuses any more."""
    until = time.monotonic() + SETTLING_S
    while redemption["status"] in statuses and time.monotonic() < until:
        await asyncio.sleep(POLL_S)
        redemption = await account.get(f"/redemptions/{redemption['id']}")
    return redemption
