"""What follows: reviews by those who were served, points, a reward from the points shop."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from demo.client import Account, Later, Stopped, Thing
from demo.places import TIMEZONE
from demo.script import COMMUNITY, REDEMPTION, STAR
from demo.stage import Stage, Steps

# Only looks that Linli answers count, however long it is away between them.
LOOKS = 450
LOOK_EVERY_S = 0.2
BOARD_ITEMS = 100


async def review(stage: Stage, steps: Steps) -> None:
    """Residents give stars to the sessions that they attended; all of them are of completed projects."""

    async def review_one(said: Thing) -> None:
        product_id, author_id = stage.ids[said["product"]], stage.ids[said["author"]]
        posted = await stage.operator.list(f"/products/{product_id}/reviews")
        if not any(review["author_id"] == author_id for review in posted):
            booking = stage.bookings[author_id, said["product"]]
            account = stage.account(said["author"])
            subject = {"type": "session", "id": booking["session_id"]}
            await account.post("/reviews", {"subject": subject, "stars": said["stars"], "text": said["text"]})

    await steps.each(stage.script.reviews, review_one)


async def settle(stage: Stage, steps: Steps) -> None:
    """Wait for the points of every participation. What is missing in the end, the report says."""
    expected = {stage.ids[person]: points for person, points in stage.script.scores().items()}

    async def wait(_community: str) -> None:
        for _ in range(LOOKS):
            board = await leaderboard(stage)
            if expected.items() <= {item["subject_id"]: item["score"] for item in board["items"]}.items():
                return
            await asyncio.sleep(LOOK_EVERY_S)

    await steps.each([COMMUNITY], wait)


async def leaderboard(stage: Stage) -> Thing:
    """Members' points in the community and all below it, with the star's own place.

    The season is the year in which the star's points came, so that the story ends as it did when next year has begun.
    """
    account = stage.account(STAR)
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
        account = stage.account(person)
        tries = [tried for tried in await account.list("/me/redemptions") if tried["reward_id"] == stage.ids[reward]]
        redemption = next((tried for tried in tries if tried["status"] not in {"refused", "cancelled"}), None)
        if redemption is None:
            path, body = f"/rewards/{stage.ids[reward]}/redemptions", {"centre_id": stage.ids[centre], "quantity": 1}
            redemption = await account.post(path, body, key=f"redemption-{person}-{reward}-{len(tries)}")
        redemption = await _once_past(account, redemption, "requested")
        if redemption["status"] == "confirmed":
            shop = stage.account(clerk)
            await shop.post("/redemptions/collect", {"pickup_code": redemption["pickup_code"]})
        redemption = await _once_past(account, redemption, "confirmed", "collected")
        if redemption["reason"] == "no_answer":
            raise Later(f"The redemption of {reward} was cancelled: its points could not be held in time.")
        if redemption["status"] != "completed":
            raise Stopped(f"The redemption of {reward} is {redemption['status']} ({redemption['reason']}).")

    await steps.each([REDEMPTION], redeem_one)


async def _once_past(account: Account, redemption: Thing, *statuses: str) -> Thing:
    """The redemption as soon as it has none of these statuses any more."""
    for _ in range(LOOKS):
        if redemption["status"] not in statuses:
            break
        await asyncio.sleep(LOOK_EVERY_S)
        redemption = await account.get(f"/redemptions/{redemption['id']}")
    return redemption
