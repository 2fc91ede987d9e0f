"""Rewards of the points shop."""

from __future__ import annotations

import asyncio
from uuid import uuid4

from contracts.catalog import RewardPublished
from contracts.members import CentreOpened
from tests.harness import Person, ServiceUnderTest, coordinator, operator
from tests.services.catalog.stories import add_centre


def rice(area_id: object, *stock: tuple[object, int]) -> dict[str, object]:
    return {
        "area_id": str(area_id),
        "title": "大米（5千克）",
        "title_en": "Rice (5 kg)",
        "cost_points": 120,
        "stock": [{"centre_id": str(centre), "total": total} for centre, total in stock],
    }


async def test_a_reward_is_told_with_its_price_and_stock(catalog: ServiceUnderTest):
    area = await catalog.add_area()
    court = await catalog.add_area(parents=[area])
    first, second = await add_centre(catalog, area), await add_centre(catalog, court)
    answer = await catalog.post("/rewards", person=coordinator(area), json=rice(area, (first, 10), (second, 0)))
    assert answer.status_code == 201, answer.text
    reward = answer.json()
    assert (reward["status"], reward["cost_points"], reward["version"]) == ("published", 120, 1)
    [told] = await catalog.envelopes(RewardPublished)
    assert told.sequence == 1
    assert {item.centre_id: item.total for item in told.data.stock} == {first: 10, second: 0}
    assert (await catalog.get(f"/rewards/{reward['id']}")).json() == reward
    assert (await catalog.get(f"/rewards?area_id={area}")).json()["items"] == [reward]
    assert (await catalog.get(f"/rewards?area_id={court}")).json()["items"] == []


async def test_a_changed_stock_is_absolute_and_a_centre_left_out_has_none(catalog: ServiceUnderTest):
    area = await catalog.add_area()
    first, second, third = [await add_centre(catalog, area) for _ in range(3)]
    made = await catalog.post("/rewards", person=operator(), json=rice(area, (first, 10), (second, 5)))
    path = f"/rewards/{made.json()['id']}"
    body = {"cost_points": 90, "stock": [{"centre_id": str(i), "total": n} for i, n in ((second, 7), (third, 1))]}
    changed = await catalog.patch(path, person=operator(), headers={"If-Match": '"1"'}, json=body)
    assert (changed.status_code, changed.headers["etag"], changed.json()["cost_points"]) == (200, '"2"', 90)
    told = (await catalog.envelopes(RewardPublished))[-1]
    assert (told.sequence, told.data.cost_points) == (2, 90)
    assert {item.centre_id: item.total for item in told.data.stock} == {first: 0, second: 7, third: 1}
    stale = await catalog.patch(path, person=operator(), headers={"If-Match": '"1"'}, json=body)
    assert stale.status_code == 412
    assert (await catalog.patch(path, person=operator(), json={})).json()["version"] == 2


async def test_only_coordinators_of_the_area_publish_and_change_rewards(catalog: ServiceUnderTest):
    area, elsewhere = await catalog.add_area(), await catalog.add_area()
    centre = await add_centre(catalog, area)
    made = await catalog.post("/rewards", person=operator(), json=rice(area, (centre, 1)))
    path = f"/rewards/{made.json()['id']}"
    for person, status in ((None, 401), (Person(), 403), (coordinator(elsewhere), 403)):
        assert (await catalog.post("/rewards", person=person, json=rice(area, (centre, 1)))).status_code == status
        assert (await catalog.patch(path, person=person, json={"cost_points": 1})).status_code == status
    assert (await catalog.patch(f"/rewards/{uuid4()}", person=operator(), json={})).status_code == 404


async def test_a_centre_outside_the_area_is_no_place_for_its_reward(catalog: ServiceUnderTest):
    area, elsewhere = await catalog.add_area(), await catalog.add_area()
    inside, outside = await add_centre(catalog, area), await add_centre(catalog, elsewhere)
    answer = await catalog.post("/rewards", person=operator(), json=rice(area, (inside, 1), (outside, 1)))
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["body.stock.1.centre_id"]


async def test_a_centre_whose_fact_is_under_way_is_waited_for(catalog: ServiceUnderTest):
    area, centre = await catalog.add_area(), uuid4()
    posted = asyncio.create_task(catalog.post("/rewards", person=operator(), json=rice(area, (centre, 3))))
    await asyncio.sleep(0.2)
    assert not posted.done()
    await catalog.receive(CentreOpened(centre_id=centre, area_id=area, name="二号中心", address="二号"))
    assert (await posted).status_code == 201
    never = await catalog.post("/rewards", person=operator(), json=rice(area, (uuid4(), 3)))
    assert (never.status_code, never.json()["type"]) == (404, "urn:linli:problem:not_arrived")


async def test_a_reward_that_is_not_as_expected_is_refused_by_its_field(catalog: ServiceUnderTest):
    area = await catalog.add_area()
    centre = await add_centre(catalog, area)
    for change, field in (
        ({"cost_points": 0}, "body.cost_points"),
        ({"cost_points": 1_000_001}, "body.cost_points"),
        ({"stock": []}, "body.stock"),
        ({"stock": [{"centre_id": str(uuid4()), "total": 1}] * 2}, "body.stock"),
        ({"stock": [{"centre_id": str(uuid4()), "total": 1} for _ in range(51)]}, "body.stock"),
        ({"stock": [{"centre_id": str(uuid4()), "total": -1}]}, "body.stock.0.total"),
        ({"stock": [{"centre_id": str(uuid4()), "total": 2**31}]}, "body.stock.0.total"),
    ):
        answer = await catalog.post("/rewards", person=operator(), json={**rice(area, (centre, 1)), **change})
        assert answer.status_code == 422
        assert {error["field"] for error in answer.json()["errors"]} == {field}
