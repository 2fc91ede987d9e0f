"""People read all that Linli holds about them, and leave: what was open ends, and nothing leads to them any more."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.journeys.people import Actor, random_phone, sign_in

NEED = "家里老人想学手机支付"
REVIEW = "小杨讲得很有耐心"


@pytest.fixture
def phone() -> str:
    return random_phone()


@pytest.fixture
def resident(url: str, area: str, phone: str) -> Iterator[Actor]:
    """Somebody who has done all sorts of things: see `Deeds`."""
    with sign_in(url, phone) as actor:
        actor.post("/registrations", {"area_id": area})
        yield actor


@pytest.fixture
def deeds(staff: Actor, area: str, resident: Actor, person: Actor) -> dict[str, Any]:
    """A need, a running claim, a booking of a full session for which another waits, a redemption, a review."""
    person.post("/registrations", {"area_id": area})
    need = resident.post("/needs", {"area_id": area, "title": NEED, "body": NEED})["id"]
    product = staff.post("/products", {"area_id": area, **_offer("智能手机课"), "claim_capacity": 2})["id"]
    claim = resident.post(f"/products/{product}/claims", _claimant(resident))["id"]
    resident.post(f"/claims/{claim}/sign")
    resident.post(f"/claims/{claim}/progress", {"percent": 10, "note": NEED})
    staff.post("/attendances", {"claim_id": claim, "action": "check_in"})
    times = {"starts_at": _tomorrow(1), "ends_at": _tomorrow(2)}
    session = staff.post(f"/products/{product}/sessions", {**times, "capacity": 2, "venue": "邻里中心"})["id"]
    booking = resident.post(f"/sessions/{session}/bookings", {"seats": 2})["id"]
    waiting = person.post(f"/sessions/{session}/bookings", {"seats": 2})
    assert waiting["status"] == "waitlisted"
    other = person.post(f"/products/{product}/claims", _claimant(person))["id"]
    person.post(f"/claims/{other}/sign")
    staff.post(f"/claims/{other}/complete")
    resident.post("/reviews", {"subject": {"type": "claim", "id": other}, "stars": 5, "text": REVIEW})
    centre = staff.post("/centres", {"area_id": area, "name": "邻里中心", "address": "玉林北路"})["id"]
    stock = [{"centre_id": centre, "total": 1}]
    reward = staff.post("/rewards", {"area_id": area, "title": "毛巾", "cost_points": 10, "stock": stock})["id"]
    resident.until("/me/points", lambda points: points["balance"] == 10)
    redemption = resident.post(f"/rewards/{reward}/redemptions", {"centre_id": centre, "quantity": 1})["id"]
    resident.until(f"/redemptions/{redemption}", lambda answer: answer["status"] == "confirmed")
    return {
        "need": need,
        "product": product,
        "claim": claim,
        "session": session,
        "booking": booking,
        "waiting": waiting["id"],
        "review": other,
        "reward": {"id": reward, "centre": centre},
        "redemption": redemption,
    }


def _offer(title: str) -> dict[str, Any]:
    return {"kind": "activity", "title": title, "summary": "每周一次", "publish": True}


def _claimant(actor: Actor) -> dict[str, Any]:
    return {"claimant": {"type": "member", "id": actor.id}}


def _tomorrow(hours: int) -> str:
    return (datetime.now(UTC) + timedelta(days=1, hours=hours)).isoformat()


def test_an_export_has_everything_from_every_service(resident: Actor, deeds: dict[str, Any], phone: str) -> None:
    resident.until("/me/messages", lambda page: len(page["items"]) >= 5)
    export = resident.get("/me/export")
    assert (export["person_id"], export["phone"]) == (resident.id, phone)
    parts = export["services"]
    assert set(parts) == {"members", "catalog", "orders", "points", "notify"}
    assert [need["body"] for need in parts["catalog"]["needs"]] == [NEED]
    assert deeds["claim"] in [claim["id"] for claim in parts["orders"]["claims"]]
    assert [update["note"] for update in parts["orders"]["progress_updates"]] == [NEED]
    assert [review["text"] for review in parts["orders"]["reviews"]] == [REVIEW]
    for table, row in (("bookings", "booking"), ("redemptions", "redemption")):
        assert [found["id"] for found in parts["orders"][table]] == [deeds[row]]
    assert {"accounts", "transfers", "entries", "holds"} <= set(parts["points"])
    assert {"messages", "people"} <= set(parts["notify"])
    assert {"people", "registrations", "sign_ins", "audit_entries"} <= set(parts["members"])
    assert "phone_sealed" not in parts["members"]["contacts"][0]


def test_nobody_reads_anothers_export(url: str, person: Actor, resident: Actor, deeds: dict[str, Any]) -> None:
    theirs = person.get("/me/export")
    assert theirs["person_id"] == person.id
    assert NEED not in str(theirs)
    with Actor(url) as nobody:
        nobody.get("/me/export", 401)
        nobody.get("/me/export/orders", 401)
        nobody.delete("/me", 401)


def test_whoever_leaves_is_forgotten_and_what_was_open_ends(
    url: str, staff: Actor, area: str, person: Actor, resident: Actor, deeds: dict[str, Any], phone: str
) -> None:
    resident.delete("/me", 204)
    for path in ("/me", "/me/claims", "/me/points", "/me/messages", "/me/export"):
        resident.until_refused(path)
    resident.post("/auth/refresh", {"refresh_token": resident.refresh_token}, 401)

    person.until(f"/bookings/{deeds['waiting']}", lambda booking: booking["status"] == "confirmed")
    claim = staff.get(f"/claims/{deeds['claim']}")
    assert (claim["status"], NEED in str(claim)) == ("released", False)
    redemption = staff.get(f"/redemptions/{deeds['redemption']}")
    assert (redemption["status"], redemption["reason"]) == ("cancelled", "person")
    staff.get(f"/needs/{deeds['need']}", 404)
    reviews = person.get(f"/products/{deeds['product']}/reviews")
    assert [(review["stars"], review["text"]) for review in reviews["items"]] == [(5, "")]
    assert resident.id not in reviews["names"]
    board = person.until("/leaderboards", lambda page: resident.id not in str(page["items"]), params={"area_id": area})
    assert resident.id not in board["names"]
    check = staff.get("/points/ledger/check")
    assert (check["sum"], check["negative_accounts"], check["mismatched_accounts"]) == (0, 0, 0)
    reward = deeds["reward"]
    stock = {"centre_id": reward["centre"], "quantity": 1}
    assert person.post(f"/rewards/{reward['id']}/redemptions", stock, 202)["status"] == "requested"

    with sign_in(url, phone) as again:
        assert again.id != resident.id
        assert again.get("/me")["registrations"] == []
        assert again.get("/me/messages")["items"] == []
