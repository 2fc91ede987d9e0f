"""What is offered: needs and what became of them, products, their sessions, the points shops' rewards."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from demo.client import Thing
from demo.places import TIMEZONE
from demo.stage import Known, Stage, Steps

ZONE = ZoneInfo(TIMEZONE)
WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
LEAD = timedelta(hours=1)  # the first session is at least so far ahead, so that it can still be booked


async def post_needs(stage: Stage, steps: Steps) -> None:
    """Residents and communities say what they need."""

    async def post(need: Thing) -> None:
        if stage.needs.find(need["title"]) is None:
            body = {"area_id": stage.ids[need["area"]], "category_id": stage.ids[need["category"]]}
            words = {"title": need["title"], "body": need["body"], "section": "ask_help", "kind": "need"}
            stage.needs.add(await stage.account(need["requester"]).post("/needs", {**body, **words}))

    await steps.each(stage.script.needs, post, stage.needs.look)


async def publish_products(stage: Stage, steps: Steps) -> None:
    """A need that is accepted becomes its product; all other products come from the area's coordinator."""
    known = Known(stage.operator, "/products", "title", status="any")
    accepted = {need["product"]: need for need in stage.script.needs if need["outcome"] == "accept"}

    async def publish(product: Thing) -> None:
        there = known.find(product["title"])
        if there is None:
            official = stage.official(product["area"])
            terms = {name: product[name] for name in ("kind", "title", "title_en", "summary", "claimants")}
            terms |= {"category_id": stage.ids[product["category"]], "claim_capacity": product["claim_capacity"]}
            need = accepted.get(product["key"])
            if need is not None:
                path = f"/needs/{stage.needs.one(need['title'])['id']}/accept"
                there = (await official.post(path, {"product": terms}))["product"]
            else:
                body = {**terms, "area_id": stage.ids[product["area"]], "publish": True}
                there = await official.post("/products", body)
        stage.ids[product["key"]] = there["id"]

    await steps.each(stage.script.products, publish, known.look)


async def decline_needs(stage: Stage, steps: Steps) -> None:
    """With a reason, which everybody can read."""

    async def decline(need: Thing) -> None:
        posted = stage.needs.one(need["title"])
        if posted["status"] != "declined":
            official = stage.official(need["area"])
            await official.post(f"/needs/{posted['id']}/decline", {"reason": need["reason"]})

    declined = [need for need in stage.script.needs if need["outcome"] == "decline"]
    await steps.each(declined, decline, stage.needs.look)


async def schedule_sessions(stage: Stage, steps: Steps) -> None:
    """The next date of each weekly pattern. Patterns that do not overlap in the week give dates that do not either."""

    async def schedule(product: Thing) -> None:
        scheduled = stage.sessions_of(product["key"])
        for pattern in product["sessions"]:
            if not any(_is_date_of(pattern, session) for session in scheduled):
                await schedule_next(stage, product, pattern)

    scheduled = [product for product in stage.script.products if "sessions" in product]
    await steps.each(scheduled, schedule, stage.sessions.look)


async def schedule_next(stage: Stage, product: Thing, pattern: Thing) -> None:
    """A session on the pattern's next date."""
    starts_at = _next_date(pattern, datetime.now(UTC) + LEAD)
    body = {
        "starts_at": starts_at.isoformat(),
        "ends_at": (starts_at + timedelta(minutes=pattern["duration_min"])).isoformat(),
        "venue": pattern["venue"],
        "capacity": pattern["capacity"],
        "confirmation": "automatic",
    }
    official = stage.official(product["area"])
    stage.sessions.add(await official.post(f"/products/{stage.ids[product['key']]}/sessions", body))


async def publish_rewards(stage: Stage, steps: Steps) -> None:
    known = Known(stage.operator, "/rewards", "area_id", "title")

    async def publish(reward: Thing) -> None:
        area_id = stage.ids[reward["area"]]
        there = known.find(area_id, reward["title"])
        if there is None:
            stock = [{"centre_id": stage.ids[item["centre"]], "total": item["total"]} for item in reward["stock"]]
            words = {name: reward[name] for name in ("title", "title_en", "cost_points")}
            official = stage.official(reward["area"])
            there = await official.post("/rewards", {"area_id": area_id, **words, "stock": stock})
        stage.ids[reward["key"]] = there["id"]

    await steps.each(stage.script.rewards, publish, known.look)


def has_begun(session: Thing) -> bool:
    return datetime.fromisoformat(session["starts_at"]) <= datetime.now(UTC)


def _is_date_of(pattern: Thing, session: Thing) -> bool:
    starts_at = datetime.fromisoformat(session["starts_at"]).astimezone(ZONE)
    return (WEEKDAYS[starts_at.weekday()], f"{starts_at:%H:%M}") == (pattern["weekday"], pattern["time"])


def _next_date(pattern: Thing, after: datetime) -> datetime:
    """When the pattern's weekday and time come for the first time after a moment."""
    local = after.astimezone(ZONE)
    hour, minute = map(int, pattern["time"].split(":"))
    days = (WEEKDAYS.index(pattern["weekday"]) - local.weekday()) % 7
    date = (local + timedelta(days=days)).replace(hour=hour, minute=minute, second=0, microsecond=0)
    return date if date > local else date + timedelta(days=7)
