"""The live stream: messages, points and status changes as they happen; nothing lost over a reconnection."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from tests.journeys.people import Actor


@contextmanager
def stream(actor: Actor, last_event_id: str | None = None) -> Iterator[Iterator[dict[str, Any]]]:
    """The actor's live items, as dictionaries with id, event and data."""
    headers = {"Last-Event-ID": last_event_id} if last_event_id is not None else {}
    with actor.http.stream("GET", "/me/stream", headers=headers, timeout=httpx.Timeout(10)) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        yield items(response.iter_lines())


def items(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    item: dict[str, Any] = {}
    for line in lines:
        if not line:
            if "id" in item and "data" in item:
                yield {**item, "data": json.loads(item["data"])}
            item = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(": ")
            item[name] = value


def test_a_booking_is_seen_live_and_a_reconnection_misses_nothing(person: Actor, staff: Actor, area: str) -> None:
    body = {"area_id": area, "kind": "activity", "title": "小小科普员", "summary": "科普", "claim_capacity": 9}
    products = [staff.post("/products", {**body, "publish": True}, 201) for _ in range(3)]
    person.post("/registrations", {"area_id": area})

    def claim(number: int) -> None:
        claimant = {"claimant": {"type": "member", "id": person.id}}
        person.post(f"/products/{products[number]['id']}/claims", claimant, 201)

    with stream(person, last_event_id="0") as live:
        claim(0)
        first = next(item for item in live if item["event"] == "message")
    claim(1)
    person.until("/me/messages", lambda page: len(page["items"]) >= 2)
    with stream(person, last_event_id=first["id"]) as live:
        claim(2)
        seen = []
        for item in live:
            seen.append(int(item["id"]))
            if item["event"] == "message" and len(seen) >= 2:
                break
    assert seen == list(range(int(first["id"]) + 1, int(first["id"]) + 1 + len(seen)))


def test_a_stream_needs_a_token(url: str) -> None:
    with Actor(url) as stranger:
        stranger.get("/me/stream", 401)
