"""Who takes part: claims with agreement and progress, bookings, attendance at the door, completion."""

from __future__ import annotations

from demo.client import Thing
from demo.offers import has_begun, schedule_next
from demo.script import STAR
from demo.stage import Stage, Steps

HALFWAY = (60, "前期准备已完成，活动按计划进行。")
DONE = (100, "全部活动已完成，请验收。")

Wish = tuple[str, str]  # who claims, and which product


async def claim_products(stage: Stage, steps: Steps) -> None:
    """Each claim is taken, its responsibility agreement signed, its progress reported."""
    completed = stage.script.completed()

    async def claim(wish: Wish) -> None:
        person, product = wish
        claim = await _standing_claim(stage, *wish) or await _claim(stage, *wish)
        path = f"/claims/{claim['id']}"
        if claim["status"] == "accepted":
            claim = await stage.account(person).post(f"{path}/sign")
        percent, note = DONE if product in completed else HALFWAY
        if claim["status"] == "signed" and claim["percent"] < percent:
            claim = await stage.account(person).post(f"{path}/progress", {"percent": percent, "note": note})
        stage.claims[wish] = claim

    await steps.each(stage.script.claims(), claim)


def _claimant(stage: Stage, person: str) -> Thing:
    """For whom the person claims: the star alone for themselves, everybody else for their organisation."""
    if person == STAR:
        return {"type": "member", "id": stage.ids[person]}
    return {"type": "organisation", "id": stage.ids[stage.people[person]["organisation"]]}


async def _standing_claim(stage: Stage, person: str, product: str) -> Thing | None:
    claimant_id = _claimant(stage, person)["id"]
    for claim in await stage.operator.list(f"/products/{stage.ids[product]}/claims"):
        if claim["claimant"]["id"] == claimant_id and claim["status"] != "released":
            return claim
    return None


async def _claim(stage: Stage, person: str, product: str) -> Thing:
    account = stage.account(person)
    body = {"claimant": _claimant(stage, person)}
    made: Thing = await account.post(f"/products/{stage.ids[product]}/claims", body, key=f"claim-{person}-{product}")
    return made


async def book(stage: Stage, steps: Steps) -> None:
    """Whoever takes part in what they have not claimed themselves books a place in the product's session."""
    guests: dict[str, list[Thing]] = {}
    for part in stage.script.participations:
        if (part["person"], part["product"]) not in stage.claims:
            guests.setdefault(part["product"], []).append(part)

    async def look(product: str) -> None:
        official = stage.official(stage.products[product]["area"])
        for session in stage.sessions_of(product):
            for booking in await official.list(f"/sessions/{session['id']}/bookings"):
                if booking["status"] != "cancelled":
                    stage.bookings[booking["person_id"], product] = booking
        expected = {stage.ids[part["person"]] for part in guests[product]}
        booked = {person_id for person_id, of in stage.bookings if of == product}
        if not expected <= booked and all(map(has_begun, stage.sessions_of(product))):
            await schedule_next(stage, stage.products[product], stage.products[product]["sessions"][0])

    async def book_one(part: Thing) -> None:
        who, product = stage.ids[part["person"]], part["product"]
        if (who, product) not in stage.bookings:
            session = next(session for session in stage.sessions_of(product) if not has_begun(session))
            account = stage.account(part["person"])
            path, key = f"/sessions/{session['id']}/bookings", f"booking-{part['person']}-{session['id']}"
            stage.bookings[who, product] = await account.post(path, {"seats": 1}, key=key)

    await steps.each(list(guests), look, stage.sessions.look)
    await steps.each([part for parts in guests.values() for part in parts], book_one)


async def attend(stage: Stage, steps: Steps) -> None:
    """The coordinator lets people in, by their ticket or for their claim, and out again."""
    known: dict[tuple[str, str], Thing] = {}  # by the guest's id and product

    async def look(product: str) -> None:
        official = stage.official(stage.products[product]["area"])
        for session in stage.sessions_of(product):
            for attendance in await official.list(f"/sessions/{session['id']}/attendances"):
                if attendance["status"] != "voided":
                    known[attendance["person_id"], product] = attendance

    async def attend_one(part: Thing) -> None:
        person_id, product = stage.ids[part["person"]], part["product"]
        official = stage.official(stage.products[product]["area"])
        claim, attendance = stage.claims.get((part["person"], product)), known.get((person_id, product))
        if claim is not None:
            what = {"claim_id": claim["id"]}  # said twice, it counts once
        else:
            what = {"ticket": stage.bookings[person_id, product]["ticket"]["code"]}
        if part["check_in"] and attendance is None:
            attendance = await official.post("/attendances", {**what, "action": "check_in"})
        if part["check_out"] and attendance is not None and attendance["status"] == "checked_in":
            await official.post("/attendances", {**what, "action": "check_out"})

    await steps.each({part["product"] for part in stage.script.participations}, look)
    await steps.each(stage.script.participations, attend_one)


async def complete(stage: Stage, steps: Steps) -> None:
    """The coordinator accepts the completion of what the story calls completed."""
    completed = stage.script.completed()

    async def complete_one(wish: Wish) -> None:
        claim = stage.claims[wish]
        if claim["status"] != "completed":
            official = stage.official(stage.products[wish[1]]["area"])
            await official.post(f"/claims/{claim['id']}/complete")

    await steps.each([wish for wish in stage.claims if wish[1] in completed], complete_one)
