"""What neighbours do, small enough to be done while parts of Linli are away, and what has to follow from it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from uuid import uuid4

from tests.journeys.compose import RECOVERY_S, wait_until
from tests.journeys.people import Actor


def publish(staff: Actor, area: str, capacity: int = 5) -> str:
    """Id of a new product that members can claim."""
    body = {
        "area_id": area,
        "kind": "project",
        "title": f"微心愿 {uuid4().hex[:8]}",
        "summary": "实现一个愿望。",
        "claimants": "members",
        "claim_capacity": capacity,
        "publish": True,
    }
    return str(staff.post("/products", body, 201)["id"])


def claim(member: Actor, product: str) -> str:
    """Id of the member's claim. Sent again, as clients do, while the answer is to try later."""
    request = {"claimant": {"type": "member", "id": member.id}}
    headers = {"Idempotency-Key": uuid4().hex}
    end = time.monotonic() + RECOVERY_S
    while True:
        answer = member.http.post(f"/products/{product}/claims", json=request, headers=headers)
        if answer.status_code == 201:
            return str(answer.json()["id"])
        assert "retry-after" in answer.headers, answer.text
        assert time.monotonic() < end, answer.text
        time.sleep(0.5)


def take_part(member: Actor, staff: Actor, product: str) -> None:
    """Claim a product and come."""
    claim_id = claim(member, product)
    staff.post("/attendances", {"claim_id": claim_id, "action": "check_in"}, 201)


@dataclass(frozen=True)
class Consequences:
    """Of taking part once: points (in points), whether there is a message (notify), claims on the page (catalog)."""

    balance: int = 10
    told: bool = True
    claims: int = 1


NONE_YET = Consequences(0, told=False, claims=0)


def consequences(member: Actor, product: str) -> Consequences:
    """What has followed so far."""
    balance = member.get("/me/points")["balance"]
    messages = member.get("/me/messages")["items"]
    told = any("claim" in message["template"] for message in messages)
    return Consequences(balance, told, member.get(f"/products/{product}")["claims_active"])


def until_all_has_followed(member: Actor, product: str) -> None:
    """Wait until taking part has had all its consequences, each once."""
    wait_until(lambda: consequences(member, product) == Consequences(), RECOVERY_S, "not all has followed")
