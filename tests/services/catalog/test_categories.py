"""Category schemes."""

from __future__ import annotations

from uuid import uuid4

from tests.harness import Person, ServiceUnderTest, coordinator, operator

GREEN = {"scheme": "S2", "key": "s2-green", "name": "绿色环保", "name_en": "Green"}


async def test_a_category_is_added_once_and_given_back_afterwards(catalog: ServiceUnderTest):
    area = await catalog.add_area()
    first = await catalog.post("/categories", person=coordinator(area), json={**GREEN, "area_id": str(area)})
    assert first.status_code == 201
    again = await catalog.post(
        "/categories", person=operator(), json={**GREEN, "name": "别的名字", "area_id": str(area)}
    )
    assert (again.status_code, again.json()) == (200, first.json())
    assert first.json() == {**GREEN, "id": first.json()["id"], "area_id": str(area)}


async def test_only_coordinators_of_the_area_add_categories(catalog: ServiceUnderTest):
    area, elsewhere = await catalog.add_area(), await catalog.add_area()
    body = {**GREEN, "area_id": str(area)}
    assert (await catalog.post("/categories", json=body)).status_code == 401
    assert (await catalog.post("/categories", person=Person(), json=body)).status_code == 403
    assert (await catalog.post("/categories", person=coordinator(elsewhere), json=body)).status_code == 403
    unknown = await catalog.post("/categories", person=operator(), json={**GREEN, "area_id": str(uuid4())})
    assert (unknown.status_code, unknown.headers["retry-after"]) == (404, "2")


async def test_an_areas_categories_are_those_above_and_within_it(catalog: ServiceUnderTest):
    city = await catalog.add_area()
    community = await catalog.add_area(parents=[city])
    court = await catalog.add_area(parents=[city, community])
    other = await catalog.add_area(parents=[city])
    for place, key in ((city, "a"), (community, "b"), (court, "c"), (other, "d")):
        body = {**GREEN, "key": key, "area_id": str(place)}
        assert (await catalog.post("/categories", person=operator(), json=body)).status_code == 201

    async def keys(query: str) -> list[str]:
        return [item["key"] for item in (await catalog.get(f"/categories{query}")).json()["items"]]

    assert await keys(f"?area_id={community}") == ["a", "b", "c"]
    assert await keys(f"?area_id={uuid4()}") == []
    assert await keys("?scheme=S2") == ["a", "b", "c", "d"]
    assert await keys("?scheme=S9") == []


async def test_pages_of_categories_follow_one_another(catalog: ServiceUnderTest):
    area = await catalog.add_area()
    for number in range(5):
        body = {**GREEN, "key": f"k{number}", "area_id": str(area)}
        await catalog.post("/categories", person=operator(), json=body)
    seen, query = [], {"limit": "2"}
    while query.get("cursor", "first"):
        page = (await catalog.get("/categories", params=query)).json()
        seen.append([item["key"] for item in page["items"]])
        query["cursor"] = page["next_cursor"]
    assert seen == [["k0", "k1"], ["k2", "k3"], ["k4"]]
