"""What the people of the neighbourhood may do next: one random request, from what they know."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from tests.simulation.clients import Memory, Request

# Those of the people who have been to something before the schedule begins.
WITH_POINTS = slice(1, 4)

Action = Callable[[Memory, random.Random, datetime], Request | None]


def _post(service: str, path: str, person: Any, body: Any = None, makes: str = "") -> Request:
    return Request(service, "POST", path, person, body if body is not None else {}, makes=makes)


def _any(memory: Memory, rng: random.Random, kind: str) -> Any:
    """One of the things of this kind, the newer ones more often; None where there is none."""
    things = memory.of(kind)
    return things[max(rng.randrange(len(things)), rng.randrange(len(things)))] if things else None


def _staff(memory: Memory, rng: random.Random) -> Any:
    return rng.choice(memory.of("coordinator") + memory.of("operator"))


def _owner(memory: Memory, rng: random.Random, thing: Any) -> Any:
    """Who made it; now and then somebody else tries."""
    return memory.makers.get(thing) if rng.random() < 0.9 else _any(memory, rng, "person")


def claim(memory: Memory, rng: random.Random, now: datetime) -> Request:
    person = _any(memory, rng, "person")
    claimant = {"type": "member", "id": str(person)}
    if rng.random() < 0.3:
        person = memory.of("admin")[0]
        claimant = {"type": "organisation", "id": str(memory.of("organisation")[0])}
    return _post("orders", f"/products/{_any(memory, rng, 'product')}/claims", person, {"claimant": claimant}, "claim")


def follow_claim(memory: Memory, rng: random.Random, now: datetime) -> Request | None:
    """The claimant signs, reports or gives back; a coordinator completes."""
    which = _any(memory, rng, "claim")
    likely = {"accepted": "sign", "signed": "complete"}.get(memory.status.get(which, ""), "release")
    what = rng.choice([likely, likely, "sign", "progress", "complete", "release"])
    who = _staff(memory, rng) if what == "complete" else _owner(memory, rng, which)
    body = {"percent": rng.randrange(101)} if what == "progress" else {}
    return None if which is None else _post("orders", f"/claims/{which}/{what}", who, body)


def book(memory: Memory, rng: random.Random, now: datetime) -> Request:
    path = f"/sessions/{_any(memory, rng, 'session')}/bookings"
    return _post("orders", path, _any(memory, rng, "person"), {"seats": rng.choice([1, 1, 2, 3])}, "booking")


def follow_booking(memory: Memory, rng: random.Random, now: datetime) -> Request | None:
    which = _any(memory, rng, "booking")
    what = rng.choice(["confirm", "cancel", "cancel"])
    who = _staff(memory, rng) if what == "confirm" else _owner(memory, rng, which)
    return None if which is None else _post("orders", f"/bookings/{which}/{what}", who)


def attend(memory: Memory, rng: random.Random, now: datetime) -> Request | None:
    kind = rng.choice(["booking", "booking", "claim"])
    which = _any(memory, rng, kind)
    body = {f"{kind}_id": which, "action": rng.choice(["check_in", "check_in", "check_out"])}
    return None if which is None else _post("orders", "/attendances", _staff(memory, rng), body, "attendance")


def void(memory: Memory, rng: random.Random, now: datetime) -> Request | None:
    which = _any(memory, rng, "attendance")
    body = {"reason": "认错人"}
    return None if which is None else _post("orders", f"/attendances/{which}/void", _staff(memory, rng), body)


def review(memory: Memory, rng: random.Random, now: datetime) -> Request | None:
    kind = rng.choice(["claim", "session"])
    which = _any(memory, rng, kind)
    body = {"subject": {"type": kind, "id": which}, "stars": rng.randint(1, 5)}
    return None if which is None else _post("orders", "/reviews", _any(memory, rng, "person"), body, "review")


def redeem(memory: Memory, rng: random.Random, now: datetime) -> Request:
    """Mostly by somebody who has points from the beginning."""
    person = rng.choice(memory.of("person")[WITH_POINTS]) if rng.random() < 0.8 else _any(memory, rng, "person")
    number = rng.randrange(len(memory.of("reward")))
    body = {"centre_id": memory.of("centre")[number % 2], "quantity": rng.choice([1, 1, 2])}
    path = f"/rewards/{memory.of('reward')[number]}/redemptions"
    return _post("orders", path, person, body, "redemption")


def cancel_redemption(memory: Memory, rng: random.Random, now: datetime) -> Request | None:
    which = _any(memory, rng, "redemption")
    return None if which is None else _post("orders", f"/redemptions/{which}/cancel", _owner(memory, rng, which))


def look_for_code(memory: Memory, rng: random.Random, now: datetime) -> Request | None:
    which = _any(memory, rng, "redemption")
    return None if which is None else Request("orders", "GET", f"/redemptions/{which}", memory.makers[which])


def collect(memory: Memory, rng: random.Random, now: datetime) -> Request | None:
    code = _any(memory, rng, "pickup_code")
    body = {"pickup_code": code}
    return None if code is None else _post("orders", "/redemptions/collect", _staff(memory, rng), body)


def change_session(memory: Memory, rng: random.Random, now: datetime) -> Request:
    session = _any(memory, rng, "session")
    if rng.random() < 0.1:
        return _post("catalog", f"/sessions/{session}/cancel", _staff(memory, rng), {"reason": "下雨"})
    changes: dict[str, Any] = {"capacity": rng.randint(1, 6)}
    memory.offer(session, changes["capacity"])
    if rng.random() < 0.2:
        starts = now + timedelta(hours=rng.randint(1, 60))
        changes |= {"starts_at": starts.isoformat(), "ends_at": (starts + timedelta(hours=2)).isoformat()}
        changes |= {"book_until": starts.isoformat()}
    return Request("catalog", "PATCH", f"/sessions/{session}", _staff(memory, rng), changes)


def change_product(memory: Memory, rng: random.Random, now: datetime) -> Request:
    product = _any(memory, rng, "product")
    what = rng.choice(["change", "change", "withdraw", "publish", "publish"])
    if what != "change":
        return _post("catalog", f"/products/{product}/{what}", _staff(memory, rng))
    changes = {"claim_capacity": rng.randint(1, 4), "lease_hours": rng.choice([1, 24, 72])}
    memory.offer(product, changes["claim_capacity"])
    return Request("catalog", "PATCH", f"/products/{product}", _staff(memory, rng), changes)


def change_reward(memory: Memory, rng: random.Random, now: datetime) -> Request:
    number = rng.randrange(len(memory.of("reward")))
    reward, centre = memory.of("reward")[number], memory.of("centre")[number % 2]
    total = rng.randint(0, 4)
    memory.offer(f"{reward} {centre}", total)
    changes = {"stock": [{"centre_id": centre, "total": total}], "cost_points": rng.choice([2, 5, 10])}
    return Request("catalog", "PATCH", f"/rewards/{reward}", _staff(memory, rng), changes)


def schedule_session(memory: Memory, rng: random.Random, now: datetime) -> Request:
    starts = now + timedelta(hours=rng.randint(2, 90))
    body = {
        "starts_at": starts.isoformat(),
        "ends_at": (starts + timedelta(hours=2)).isoformat(),
        "venue": "党群服务中心",
        "capacity": rng.randint(1, 4),
        "confirmation": rng.choice(["automatic", "coordinator"]),
    }
    return _post("catalog", f"/products/{_any(memory, rng, 'product')}/sessions", _staff(memory, rng), body, "session")


def need(memory: Memory, rng: random.Random, now: datetime) -> Request | None:
    if rng.random() < 0.5:
        body = {"area_id": memory.of("area")[-1], "title": "修灯", "body": "路灯坏了"}
        return _post("catalog", "/needs", _any(memory, rng, "person"), body, "need")
    which = _any(memory, rng, "need")
    if which is None:
        return None
    if rng.random() < 0.3:
        return _post("catalog", f"/needs/{which}/decline", _staff(memory, rng), {"reason": "已修好"})
    product = {"kind": "project", "title": "修灯", "summary": "…", "claim_capacity": rng.randint(1, 2)}
    return _post("catalog", f"/needs/{which}/accept", _staff(memory, rng), {"product": product})


def belong(memory: Memory, rng: random.Random, now: datetime) -> Request:
    person = _any(memory, rng, "person")
    organisation = memory.of("organisation")[0]
    what = rng.choice(["register", "leave", "join", "confirm", "speak"])
    if what == "register":
        body = {"area_id": rng.choice(memory.of("area")), "kind": rng.choice(["residence", "work"])}
        return _post("members", "/registrations", person, body, "registration")
    if what == "leave" and memory.of("registration"):
        registration = _any(memory, rng, "registration")
        return Request("members", "DELETE", f"/registrations/{registration}", person)
    if what == "join":
        return _post("members", f"/organisations/{organisation}/members", person)
    if what == "confirm":
        path = f"/organisations/{organisation}/members/{person}/confirm"
        return _post("members", path, _staff(memory, rng))
    return Request("members", "PATCH", "/me", person, {"locale": rng.choice(["en", "zh-CN"])})


def rights(memory: Memory, rng: random.Random, now: datetime) -> Request:
    what = rng.choice(["grant", "revoke", "sign out"])
    if what == "grant":
        person = rng.choice([memory.of("coordinator")[0], _any(memory, rng, "person")])
        body = {"person_id": person, "role": "coordinator", "area_id": memory.of("area")[0]}
        return _post("members", "/roles", memory.of("operator")[0], body, "role")
    if what == "revoke":
        return Request("members", "DELETE", f"/roles/{_any(memory, rng, 'role')}", memory.of("operator")[0])
    return _post("members", "/auth/logout", _any(memory, rng, "person"))


# How often each is tried, of all that is tried.
ACTIONS: dict[Action, int] = {
    claim: 10,
    follow_claim: 14,
    book: 14,
    follow_booking: 10,
    attend: 10,
    void: 4,
    review: 6,
    redeem: 12,
    cancel_redemption: 8,
    look_for_code: 6,
    collect: 6,
    change_session: 8,
    change_product: 5,
    change_reward: 3,
    schedule_session: 2,
    need: 4,
    belong: 4,
    rights: 4,
}
# What a schedule may be about, besides everything.
STORIES: tuple[frozenset[Action], ...] = (
    frozenset({claim, follow_claim, attend, review, change_product, need}),
    frozenset({book, follow_booking, change_session, schedule_session}),
    frozenset({book, attend, void, review}),
    frozenset({redeem, cancel_redemption, look_for_code, collect, change_reward}),
    frozenset(),
)
