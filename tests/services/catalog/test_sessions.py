"""Sessions: scheduled, changed, cancelled."""

from __future__ import annotations

from uuid import uuid4

import pytest

from contracts.catalog import SessionCancelled, SessionChanged, SessionScheduled
from tests.harness import Person, ServiceUnderTest, coordinator, operator
from tests.services.catalog.stories import (
    SESSION,
    add_organisation,
    organisation_admin,
    post_product,
    post_session,
)


async def test_a_scheduled_session_is_told_and_booked_until_it_starts(catalog: ServiceUnderTest):
    product = await post_product(catalog, await catalog.add_area())
    session = await post_session(catalog, product["id"])
    assert session["starts_at"] == session["book_until"] == "2026-03-06T08:30:00Z"
    assert (session["title"], session["seats_taken"], session["status"]) == (product["title"], 0, "scheduled")
    [told] = await catalog.envelopes(SessionScheduled)
    assert (str(told.data.session_id), told.data.capacity, told.sequence) == (session["id"], 30, 1)
    assert told.data.confirmation == "automatic"
    found = await catalog.get(f"/sessions/{session['id']}")
    assert (found.json(), found.headers["etag"]) == (session, '"1"')


@pytest.mark.parametrize("status", ["draft", "withdrawn"])
async def test_only_a_published_product_can_have_sessions(catalog: ServiceUnderTest, status):
    product = await post_product(catalog, await catalog.add_area(), publish=status != "draft")
    if status == "withdrawn":
        await catalog.post(f"/products/{product['id']}/withdraw", person=operator())
    answer = await catalog.post(f"/products/{product['id']}/sessions", person=operator(), json=SESSION)
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:linli:problem:product_not_published")


async def test_coordinators_and_who_offers_the_product_schedule_and_nobody_else(catalog: ServiceUnderTest):
    area, elsewhere = await catalog.add_area(), await catalog.add_area()
    organisation = await add_organisation(catalog, area)
    product = await post_product(catalog, area, organisation_id=str(organisation))
    path = f"/products/{product['id']}/sessions"
    for person in (coordinator(area), organisation_admin(organisation)):
        made = await catalog.post(path, person=person, json=SESSION)
        assert made.status_code == 201
        one = f"/sessions/{made.json()['id']}"
        for stranger in (Person(), coordinator(elsewhere), organisation_admin(uuid4())):
            assert (await catalog.post(path, person=stranger, json=SESSION)).status_code == 403
            assert (await catalog.patch(one, person=stranger, json={"capacity": 1})).status_code == 403
            assert (await catalog.post(f"{one}/cancel", person=stranger, json={"reason": "雨"})).status_code == 403
        assert (await catalog.patch(one, person=person, json={"capacity": 31})).status_code == 200
        assert (await catalog.post(f"{one}/cancel", person=person, json={"reason": "雨"})).status_code == 200


async def test_a_changed_session_is_told_and_its_booking_follows_its_start(catalog: ServiceUnderTest):
    product = await post_product(catalog, await catalog.add_area())
    session = await post_session(catalog, product["id"])
    path = f"/sessions/{session['id']}"
    moved = {"starts_at": "2026-03-07T01:00:00Z", "ends_at": "2026-03-07T02:00:00Z", "capacity": 5}
    answer = await catalog.patch(path, person=operator(), headers={"If-Match": '"1"'}, json=moved)
    assert (answer.status_code, answer.headers["etag"]) == (200, '"2"')
    assert answer.json()["book_until"] == "2026-03-07T01:00:00Z"
    [told] = await catalog.envelopes(SessionChanged)
    assert (told.data.capacity, told.sequence) == (5, 2)
    assert (await catalog.patch(path, person=operator(), headers={"If-Match": '"1"'}, json=moved)).status_code == 412
    alone = await catalog.patch(path, person=operator(), json={"ends_at": "2026-03-07T00:00:00Z"})
    assert (alone.status_code, alone.json()["errors"][0]["field"]) == (422, "body.ends_at")


async def test_a_cancelled_session_stays_cancelled_and_is_told_once(catalog: ServiceUnderTest):
    product = await post_product(catalog, await catalog.add_area())
    session = await post_session(catalog, product["id"])
    path = f"/sessions/{session['id']}"
    for reason in ("下雨", "别的"):
        answer = await catalog.post(f"{path}/cancel", person=operator(), json={"reason": reason})
        assert (answer.status_code, answer.json()["status"], answer.json()["reason"]) == (200, "cancelled", "下雨")
    [told] = await catalog.envelopes(SessionCancelled)
    assert (told.data.reason, told.sequence) == ("下雨", 2)
    changed = await catalog.patch(path, person=operator(), json={"capacity": 3})
    assert (changed.status_code, changed.json()["type"]) == (409, "urn:linli:problem:session_is_cancelled")


async def test_sessions_are_listed_by_their_start(catalog: ServiceUnderTest):
    city = await catalog.add_area()
    court = await catalog.add_area(parents=[city])
    product = await post_product(catalog, court)
    days = ("09", "07", "08", "01")
    made = {
        day: await post_session(
            catalog,
            product["id"],
            starts_at=f"2026-03-{day}T08:30:00Z",
            ends_at=f"2026-03-{day}T09:30:00Z",
        )
        for day in days
    }
    await catalog.post(f"/sessions/{made['08']['id']}/cancel", person=operator(), json={"reason": "雨"})

    async def listed(path: str, **query: object) -> list[str]:
        seen, cursor = [], None
        while True:
            page = (
                await catalog.get(path, params={"limit": 1, **query, **({"cursor": cursor} if cursor else {})})
            ).json()
            seen += [item["starts_at"][8:10] for item in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                return seen

    assert await listed(f"/products/{product['id']}/sessions") == ["01", "07", "08", "09"]
    assert await listed("/sessions", area_id=city) == ["07", "09"]
    assert await listed("/sessions", **{"from": "2026-03-08T00:00:00Z"}) == ["09"]
    assert await listed("/sessions", area_id=uuid4()) == []


async def test_a_session_that_is_not_as_expected_is_refused_by_its_field(catalog: ServiceUnderTest):
    product = await post_product(catalog, await catalog.add_area())
    path = f"/products/{product['id']}/sessions"
    for change, field in (
        ({"ends_at": SESSION["starts_at"]}, "body.ends_at"),
        ({"book_until": "2026-03-06T18:00:01+08:00"}, "body.book_until"),
        ({"starts_at": "2026-03-06T16:30:00"}, "body.starts_at"),
        ({"starts_at": "0001-01-01T00:00:00+14:00"}, "body.starts_at"),
        ({"ends_at": "9999-12-31T23:59:59-14:00"}, "body.ends_at"),
        ({"capacity": 0}, "body.capacity"),
        ({"capacity": 100_001}, "body.capacity"),
        ({"venue": "场" * 201}, "body.venue"),
        ({"confirmation": "never"}, "body.confirmation"),
    ):
        answer = await catalog.post(path, person=operator(), json={**SESSION, **change})
        assert answer.status_code == 422
        assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert not await catalog.emitted(SessionScheduled)


async def test_nothing_is_found_under_ids_that_are_not_there(catalog: ServiceUnderTest):
    path = f"/products/{uuid4()}/sessions"
    assert (await catalog.get(path)).status_code == 404
    assert (await catalog.post(path, person=operator(), json=SESSION)).status_code == 404
    assert (await catalog.get(f"/sessions/{uuid4()}")).status_code == 404
    assert (await catalog.get("/sessions/x")).status_code == 422
