"""The whole loop once, through the door: need → project → claim / booking → attendance → review → points → reward."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.journeys.people import Actor, operator, sign_in


@pytest.fixture
def people(url: str, staff: Actor, area: str) -> Iterator[dict[str, Actor]]:
    """A resident, a member, an organisation's admin and a coordinator, all registered in the area."""
    with ExitStack() as stack:
        found = {role: stack.enter_context(sign_in(url)) for role in ("resident", "member", "admin", "coordinator")}
        for actor in found.values():
            actor.post("/registrations", {"area_id": area})
        staff.post("/roles", {"person_id": found["coordinator"].id, "role": "coordinator", "area_id": area})
        found["coordinator"].refresh()
        yield found


def tomorrow(hours: float = 0) -> str:
    return (datetime.now(UTC) + timedelta(days=1, hours=hours)).isoformat()


def publish_product(coordinator: Actor, area: str, **fields: Any) -> dict[str, Any]:
    body = {
        "area_id": area,
        "kind": "activity",
        "title": f"四点半儿童乐园 {uuid4().hex[:6]}",
        "summary": "放学后的陪伴。",
        "claim_capacity": 5,
        "publish": True,
        **fields,
    }
    product: dict[str, Any] = coordinator.post("/products", body, 201)
    assert product["status"] == "published"
    return product


def test_a_need_becomes_a_project_that_is_claimed_done_reviewed_and_scored(
    people: dict[str, Actor], staff: Actor, area: str
) -> None:
    resident, member, coordinator = people["resident"], people["member"], people["coordinator"]
    category = staff.post(
        "/categories", {"area_id": area, "scheme": "S2", "key": "green", "name": "绿色环保", "name_en": "Green"}
    )
    word = uuid4().hex[:8]
    need = resident.post(
        "/needs",
        {"area_id": area, "category_id": category["id"], "title": f"普及基因知识 {word}", "body": "想了解转基因食品。"},
        201,
    )
    assert need["status"] == "posted"

    title = f"慧眼识“基因” {word}"
    terms = {"kind": "project", "title": title, "summary": "专家讲解。", "claimants": "members", "claim_capacity": 1}
    member.post(f"/needs/{need['id']}/accept", {"product": terms}, 403)
    accepted = coordinator.post(f"/needs/{need['id']}/accept", {"product": terms}, 200)
    product = accepted["product"]
    assert resident.get(f"/needs/{need['id']}")["product_id"] == product["id"]
    found = resident.get("/products", params={"q": "基因", "area_id": area})["items"]
    assert product["id"] in [item["id"] for item in found]

    claimant = {"claimant": {"type": "member", "id": member.id}}
    claim = member.post(f"/products/{product['id']}/claims", claimant, 201)
    assert claim["status"] == "accepted"
    rival = {"claimant": {"type": "member", "id": resident.id}}
    problem = resident.post(f"/products/{product['id']}/claims", rival, 409)
    assert problem["type"] == "urn:linli:problem:sold_out"
    assert member.post(f"/claims/{claim['id']}/sign")["status"] == "signed"
    member.post(f"/claims/{claim['id']}/progress", {"percent": 60, "note": "已联系专家"})
    member.post("/attendances", {"claim_id": claim["id"], "action": "check_in"}, 403)
    coordinator.post("/attendances", {"claim_id": claim["id"], "action": "check_in"}, 201)
    coordinator.post("/attendances", {"claim_id": claim["id"], "action": "check_out"})
    assert coordinator.post(f"/claims/{claim['id']}/complete")["status"] == "completed"

    review = {"subject": {"type": "claim", "id": claim["id"]}, "stars": 5, "text": "讲得很清楚"}
    resident.post("/reviews", review, 201)
    assert resident.post("/reviews", review, 409)["type"] == "urn:linli:problem:already_reviewed"
    reviews = resident.get(f"/products/{product['id']}/reviews")
    assert reviews["items"][0]["stars"] == 5
    assert reviews["names"][resident.id]

    points = member.until("/me/points", lambda answer: answer["balance"] == 10 and answer["positive_energy"] > 20)
    participation = [entry for entry in points["entries"] if entry["asset"] == "points"]
    assert len(participation) == 1
    reason = participation[0]["reason"]
    assert reason["rule"] == "participation"
    assert reason["rule_version"] == 1
    assert reason["arithmetic"]
    assert reason["event_type"] == "linli.orders.attendance_recorded.v1"
    board = member.get("/leaderboards", params={"area_id": area})
    assert board["me"]["score"] == 10
    assert board["names"][member.id]
    resident.until(f"/needs/{need['id']}", lambda answer: answer["status"] == "fulfilled")
    project = resident.until(f"/products/{product['id']}", lambda answer: answer["reviews"] == 1)
    assert project["claims_completed"] == 1
    assert project["stars_average"] == 5
    titles = [message["title"] for message in member.get("/me/messages")["items"]]
    assert len(titles) >= 4


def test_an_organisation_claims_through_its_admin(people: dict[str, Actor], staff: Actor, area: str) -> None:
    admin, member, coordinator = people["admin"], people["member"], people["coordinator"]
    branch = {"area_id": area, "name": f"种子站党支部 {uuid4().hex[:6]}", "kind": "branch"}
    organisation = staff.post("/organisations", branch)
    staff.post("/roles", {"person_id": admin.id, "role": "organisation_admin", "organisation_id": organisation["id"]})
    admin.refresh()
    member.post(f"/organisations/{organisation['id']}/members", status=201)
    confirmed = admin.post(f"/organisations/{organisation['id']}/members/{member.id}/confirm")
    assert confirmed["status"] == "confirmed"

    product = publish_product(coordinator, area, claimants="organisations")
    claimant = {"claimant": {"type": "organisation", "id": organisation["id"]}}
    member.post(f"/products/{product['id']}/claims", claimant, 403)
    claim = admin.post(f"/products/{product['id']}/claims", claimant, 201)
    assert claim["claimant"] == {"type": "organisation", "id": organisation["id"]}
    assert admin.post(f"/claims/{claim['id']}/release")["status"] == "released"
    again = admin.post(f"/products/{product['id']}/claims", claimant, 201)
    assert again["id"] != claim["id"]


def test_a_party_books_waits_moves_up_comes_and_is_told_by_sms(people: dict[str, Actor], area: str) -> None:
    resident, member, coordinator = people["resident"], people["member"], people["coordinator"]
    product = publish_product(coordinator, area, title="关爱贫困儿童亲子活动")
    session = coordinator.post(
        f"/products/{product['id']}/sessions",
        {"starts_at": tomorrow(), "ends_at": tomorrow(2), "capacity": 3, "venue": "星火村邻里中心"},
        201,
    )
    key = {"Idempotency-Key": uuid4().hex}
    first = resident.post(f"/sessions/{session['id']}/bookings", {"seats": 2}, 201, headers=dict(key))
    assert first["status"] == "confirmed"
    assert resident.post(f"/sessions/{session['id']}/bookings", {"seats": 2}, 201, headers=dict(key)) == first
    second = member.post(f"/sessions/{session['id']}/bookings", {"seats": 2}, 201)
    assert second["status"] == "waitlisted"
    member.get(f"/bookings/{first['id']}", 404)
    assert resident.post(f"/bookings/{first['id']}/cancel")["status"] == "cancelled"
    moved = member.get(f"/bookings/{second['id']}")
    assert moved["status"] == "confirmed"
    coordinator.post("/attendances", {"ticket": moved["ticket"]["code"], "action": "check_in"}, 201)
    again = coordinator.post("/attendances", {"ticket": moved["ticket"]["code"], "action": "check_in"})
    assert again["status"] == "checked_in"
    member.until("/me/points", lambda answer: answer["balance"] == 10)
    review = {"subject": {"type": "session", "id": session["id"]}, "stars": 4, "text": ""}
    assert resident.post("/reviews", review, 409)["type"] == "urn:linli:problem:not_completed"
    member.post("/reviews", review, 201)
    templates = {message["template"] for message in member.get("/me/messages")["items"]}
    assert any("waitlisted" in template for template in templates)
    assert any("booking_confirmed" in template for template in templates)


def test_points_are_spent_on_a_reward_that_is_collected_at_a_centre(
    people: dict[str, Actor], staff: Actor, area: str
) -> None:
    member, coordinator = people["member"], people["coordinator"]
    centre = staff.post("/centres", {"area_id": area, "name": "玉北党群服务中心", "address": "玉林北路"})
    body = {"area_id": area, "title": "毛巾", "cost_points": 10, "stock": [{"centre_id": centre["id"], "total": 2}]}
    reward = staff.post("/rewards", body, 201)
    order = {"centre_id": centre["id"], "quantity": 1}
    poor = member.post(f"/rewards/{reward['id']}/redemptions", order, 202)
    refused = member.until(f"/redemptions/{poor['id']}", lambda answer: answer["status"] == "refused")
    assert refused["pickup_code"] is None

    product = publish_product(coordinator, area)
    claim = member.post(f"/products/{product['id']}/claims", {"claimant": {"type": "member", "id": member.id}}, 201)
    coordinator.post("/attendances", {"claim_id": claim["id"], "action": "check_in"}, 201)
    member.until("/me/points", lambda answer: answer["balance"] == 10)
    redemption = member.post(f"/rewards/{reward['id']}/redemptions", order, 202)
    ready = member.until(f"/redemptions/{redemption['id']}", lambda answer: answer["status"] == "confirmed")
    held = member.get("/me/points")
    assert (held["balance"], held["held"]) == (0, 10)
    member.post("/redemptions/collect", {"pickup_code": ready["pickup_code"]}, 403)
    assert coordinator.post("/redemptions/collect", {"pickup_code": ready["pickup_code"]})["status"] == "collected"
    done = member.until(f"/redemptions/{redemption['id']}", lambda answer: answer["status"] == "completed")
    assert done["points"] == 10
    assert member.get("/me/points")["held"] == 0
    check = staff.get("/points/ledger/check")
    assert (check["sum"], check["negative_accounts"], check["mismatched_accounts"]) == (0, 0, 0)


def test_a_cancelled_redemption_gives_points_and_stock_back(people: dict[str, Actor], staff: Actor, area: str) -> None:
    member, coordinator = people["member"], people["coordinator"]
    centre = staff.post("/centres", {"area_id": area, "name": "积分超市", "address": "玉林北路"})
    stock = [{"centre_id": centre["id"], "total": 1}]
    reward = staff.post("/rewards", {"area_id": area, "title": "雨伞", "cost_points": 10, "stock": stock}, 201)
    product = publish_product(coordinator, area)
    claim = member.post(f"/products/{product['id']}/claims", {"claimant": {"type": "member", "id": member.id}}, 201)
    coordinator.post("/attendances", {"claim_id": claim["id"], "action": "check_in"}, 201)
    member.until("/me/points", lambda answer: answer["balance"] == 10)
    order = {"centre_id": centre["id"], "quantity": 1}
    for _ in range(2):
        redemption = member.post(f"/rewards/{reward['id']}/redemptions", order, 202)
        member.until(f"/redemptions/{redemption['id']}", lambda answer: answer["status"] == "confirmed")
        assert member.post(f"/redemptions/{redemption['id']}/cancel")["status"] == "cancelled"
        member.until("/me/points", lambda answer: answer["balance"] == 10)


def test_a_role_that_was_revoked_ends_earlier_tokens_at_once(url: str, staff: Actor, area: str, person: Actor) -> None:
    role = staff.post("/roles", {"person_id": person.id, "role": "coordinator", "area_id": area})
    person.refresh()
    publish_product(person, area)
    staff.delete(f"/roles/{role['id']}", 204)
    person.until_refused("/me/points")
    person.refresh()
    body = {"area_id": area, "kind": "activity", "title": "x", "summary": "y"}
    person.post("/products", body, 403)


def test_signing_out_ends_the_session_everywhere(url: str, person: Actor) -> None:
    person.post("/auth/logout", status=204)
    person.until_refused("/me/points")
    person.until_refused("/me/bookings")
    person.post("/auth/refresh", {"refresh_token": person.refresh_token}, 401)


def test_the_operator_signs_in_with_a_password_only(url: str) -> None:
    with operator(url) as first:
        assert "operator" in [role["role"] for role in first.get("/me")["roles"]]
    with Actor(url) as stranger:
        stranger.post("/auth/token", {"username": "operator", "password": "wrong password"}, 401)
