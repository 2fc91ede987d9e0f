"""Whatever staff change, in whichever service, is in that service's audit: every route with a policy of roles."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from gateway.routes import Route, RoutingTable, load_document
from tests.journeys.people import OPERATOR_PASSWORD, Actor

TABLE = RoutingTable(load_document())
NEWEST = 20


# One definition for all services, noting each letter: `tests/chassis/test_dead_letters.py` looks at its audit.
ELSEWHERE = "/dead-letters/"


def staff_routes() -> set[tuple[str, str]]:
    """Method and path of every route that is for some roles only and may change something."""
    return {
        (method.upper(), path)
        for path, operations in load_document()["paths"].items()
        for method, operation in operations.items()
        if method != "get" and operation["x-linli-policy"].startswith("roles:") and ELSEWHERE not in path
    }


class Audited(Actor):
    """Somebody whose every call that changes something must have left an entry; `done` has what they called."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.done: set[tuple[str, str]] = set()

    def call(self, method: str, path: str, status: int | None = None, **options: Any) -> Any:
        route = TABLE.match(method, f"/api/v1{path}")
        if method == "GET" or path.startswith("/auth/"):
            return super().call(method, path, status, **options)
        before = self._mine(route)
        answer = super().call(method, path, status, **options)
        assert self._mine(route) - before, f"{method} {route.template} left no audit entry in {route.service}"
        self.done.add((method, route.template))
        return answer

    def _mine(self, route: Route) -> set[str]:
        entries = self.get(f"/services/{route.service}/audit-entries", params={"limit": NEWEST})["items"]
        return {entry["id"] for entry in entries if entry["actor"] == self.id}


@pytest.fixture
def boss(url: str) -> Iterator[Audited]:
    """The operator, watched."""
    with Audited(url) as actor:
        yield actor.take_tokens(actor.post("/auth/token", {"username": "operator", "password": OPERATOR_PASSWORD}))


def test_every_change_by_staff_is_in_the_audit(boss: Audited, person: Actor) -> None:
    area = boss.post("/areas", {"level": "city", "name": "德阳市"})["id"]
    organisation = boss.post("/organisations", {"area_id": area, "name": "居民互助会", "kind": "branch"})["id"]
    centre = boss.post("/centres", {"area_id": area, "name": "邻里中心", "address": "玉林北路"})["id"]
    boss.post("/people", {"display_name": "王阿姨", "area_id": area})
    word = uuid4().hex[:8]
    staff = boss.post("/staff", {"username": f"u{word}", "password": uuid4().hex, "display_name": "工作人员"})
    role = boss.post("/roles", {"person_id": staff["person_id"], "role": "coordinator", "area_id": area})
    boss.delete(f"/roles/{role['id']}")
    person.post("/registrations", {"area_id": area})
    person.post(f"/organisations/{organisation}/members")
    boss.post(f"/organisations/{organisation}/members/{person.id}/confirm")
    boss.post("/categories", {"area_id": area, "scheme": "S2", "key": word, "name": "环保", "name_en": "Green"})

    wish = {"area_id": area, "title": "想学书法", "body": "找位老师"}
    needs = [person.post("/needs", wish)["id"] for _ in range(2)]
    boss.post(f"/needs/{needs[0]}/decline", {"reason": "已有类似项目"})
    offer = {"kind": "activity", "title": "书法课", "summary": "每周一次"}
    boss.post(f"/needs/{needs[1]}/accept", {"product": offer})
    product = boss.post("/products", {"area_id": area, **offer})["id"]
    boss.post(f"/products/{product}/publish")
    boss.patch(f"/products/{product}", {"title": "书法班"})
    times = {"starts_at": _tomorrow(1), "ends_at": _tomorrow(2)}
    session = boss.post(f"/products/{product}/sessions", {**times, "capacity": 9, "venue": "邻里中心"})["id"]
    boss.patch(f"/sessions/{session}", {"capacity": 8})
    boss.post(f"/sessions/{session}/cancel", {"reason": "老师有事"})

    claimant = {"claimant": {"type": "member", "id": person.id}}
    claim = person.post(f"/products/{product}/claims", claimant)["id"]
    person.post(f"/claims/{claim}/sign")
    attendance = boss.post("/attendances", {"claim_id": claim, "action": "check_in"})["id"]
    person.until("/me/points", lambda points: points["balance"] == 10)
    boss.post(f"/claims/{claim}/complete")
    stock = [{"centre_id": centre, "total": 2}]
    reward = boss.post("/rewards", {"area_id": area, "title": "毛巾", "cost_points": 9, "stock": stock})["id"]
    boss.patch(f"/rewards/{reward}", {"cost_points": 10})
    ready = _redeemed(person, reward, centre)
    boss.post("/redemptions/collect", {"pickup_code": ready["pickup_code"]})
    boss.post(f"/attendances/{attendance}/void", {"reason": "记错了"})
    boss.post(f"/products/{product}/withdraw")
    assert staff_routes() - boss.done == set()


def _tomorrow(hours: int) -> str:
    return (datetime.now(UTC) + timedelta(days=1, hours=hours)).isoformat()


def _redeemed(person: Actor, reward: str, centre: str) -> Any:
    """A redemption whose reward waits; orders may have yet to hear of the reward's newest price."""
    redemption = person.post(f"/rewards/{reward}/redemptions", {"centre_id": centre, "quantity": 1})
    return person.until(f"/redemptions/{redemption['id']}", lambda answer: answer["status"] == "confirmed")


def test_control_a_change_without_an_entry_is_noticed(boss: Audited) -> None:
    with pytest.raises(AssertionError, match="left no audit entry in members"):
        boss.patch("/me", {"display_name": "系统管理员"})
