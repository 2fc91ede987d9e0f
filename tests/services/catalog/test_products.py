"""Products: drafted, published, changed, withdrawn; who may, and who sees what."""

from __future__ import annotations

import asyncio
from uuid import uuid4

from contracts.catalog import ProductChanged, ProductPublished, ProductWithdrawn
from tests.harness import Person, ServiceUnderTest, coordinator, operator
from tests.services.catalog.stories import (
    OFFER,
    add_organisation,
    organisation_admin,
    post_product,
    shown,
)


async def test_a_published_product_is_told_with_its_terms(catalog: ServiceUnderTest):
    area = await catalog.add_area()
    product = await post_product(catalog, area, tier="A", lease_hours=48)
    assert (product["status"], product["claims_active"], product["stars_average"]) == ("published", 0, None)
    [told] = await catalog.envelopes(ProductPublished)
    assert told.sequence == product["version"] == 1
    assert told.data.model_dump(mode="json", exclude={"product_id"}) == {
        "area_id": str(area),
        "category_id": None,
        "kind": "project",
        "title": "慧眼识基因",
        "organisation_id": None,
        "claim_policy": "first_come",
        "claimants": "both",
        "claim_capacity": 2,
        "lease_hours": 48,
    }


async def test_publishing_again_changes_nothing(catalog: ServiceUnderTest):
    product = await post_product(catalog, await catalog.add_area(), publish=False)
    answers = [await catalog.post(f"/products/{product['id']}/publish", person=operator()) for _ in range(3)]
    assert {answer.text for answer in answers} == {answers[0].text}
    assert answers[0].json()["status"] == "published"
    assert [envelope.sequence for envelope in await catalog.envelopes(ProductPublished)] == [2]


async def test_a_product_published_by_many_at_once_is_told_once(catalog: ServiceUnderTest):
    product = await post_product(catalog, await catalog.add_area(), publish=False)
    calls = (catalog.post(f"/products/{product['id']}/publish", person=operator()) for _ in range(6))
    assert {answer.status_code for answer in await asyncio.gather(*calls)} == {200}
    assert len(await catalog.emitted(ProductPublished)) == 1


async def test_a_withdrawn_product_can_be_published_again(catalog: ServiceUnderTest):
    product = await post_product(catalog, await catalog.add_area())
    for _ in range(2):
        withdrawn = await catalog.post(f"/products/{product['id']}/withdraw", person=operator())
        assert (withdrawn.status_code, withdrawn.json()["status"]) == (200, "withdrawn")
    assert [envelope.sequence for envelope in await catalog.envelopes(ProductWithdrawn)] == [2]
    await catalog.post(f"/products/{product['id']}/publish", person=operator())
    assert [envelope.sequence for envelope in await catalog.envelopes(ProductPublished)] == [1, 3]


async def test_a_draft_cannot_be_withdrawn(catalog: ServiceUnderTest):
    product = await post_product(catalog, await catalog.add_area(), publish=False)
    answer = await catalog.post(f"/products/{product['id']}/withdraw", person=operator())
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:linli:problem:product_not_published")


async def test_a_draft_is_seen_by_its_author_and_the_areas_coordinators_alone(catalog: ServiceUnderTest):
    area, elsewhere = await catalog.add_area(), await catalog.add_area()
    organisation = await add_organisation(catalog, area)
    admin = organisation_admin(organisation)
    body = {**OFFER, "area_id": str(area), "organisation_id": str(organisation)}
    draft = (await catalog.post("/products", person=admin, json=body)).json()

    async def listed(person: Person | None) -> bool:
        items = (await catalog.get("/products?status=draft", person=person)).json()["items"]
        return [item["id"] for item in items] == [draft["id"]]

    for person in (admin, organisation_admin(organisation), coordinator(area), operator()):
        assert (await catalog.get(f"/products/{draft['id']}", person=person)).status_code == 200
        assert await listed(person)
    for stranger in (None, Person(), coordinator(elsewhere), organisation_admin(uuid4())):
        assert (await catalog.get(f"/products/{draft['id']}", person=stranger)).status_code == 404
        assert (await catalog.get(f"/products/{draft['id']}/sessions", person=stranger)).status_code == 404
        assert not await listed(stranger)


async def test_an_organisations_administrator_drafts_and_a_coordinator_publishes(catalog: ServiceUnderTest):
    area = await catalog.add_area()
    organisation = await add_organisation(catalog, area, "便民服务110")
    admin = organisation_admin(organisation)
    body = {**OFFER, "area_id": str(area), "organisation_id": str(organisation)}
    refused = await catalog.post("/products", person=admin, json={**body, "publish": True})
    assert refused.status_code == 403
    draft = (await catalog.post("/products", person=admin, json=body)).json()
    assert (draft["status"], draft["organisation_name"]) == ("draft", "便民服务110")
    path = f"/products/{draft['id']}"
    assert (await catalog.patch(path, person=admin, json={"title": "便民日"})).status_code == 200
    assert (await catalog.post(f"{path}/publish", person=admin)).status_code == 403
    assert (await catalog.post(f"{path}/publish", person=coordinator(area))).status_code == 200
    assert (await catalog.patch(path, person=admin, json={"claim_capacity": 9})).status_code == 403
    assert (await catalog.post(f"{path}/withdraw", person=admin)).status_code == 200


async def test_strangers_can_neither_make_nor_change_products(catalog: ServiceUnderTest):
    area, elsewhere = await catalog.add_area(), await catalog.add_area()
    product = await post_product(catalog, area)
    draft = await post_product(catalog, area, publish=False)
    organisation = await add_organisation(catalog, area)
    body = {**OFFER, "area_id": str(area), "organisation_id": str(organisation)}
    for person in (Person(), coordinator(elsewhere), organisation_admin(uuid4())):
        assert (await catalog.post("/products", person=person, json=body)).status_code == 403
        path = f"/products/{product['id']}"
        assert (await catalog.patch(path, person=person, json={"title": "改名"})).status_code == 403
        assert (await catalog.post(f"{path}/publish", person=person)).status_code == 403
        assert (await catalog.post(f"{path}/withdraw", person=person)).status_code == 403
    answer = await catalog.post(f"/products/{draft['id']}/publish", person=coordinator(elsewhere))
    assert answer.status_code == 404
    assert (await shown(catalog, product))["title"] == "慧眼识基因"


async def test_a_changed_product_is_told_with_its_next_version(catalog: ServiceUnderTest):
    product = await post_product(catalog, await catalog.add_area())
    path = f"/products/{product['id']}"
    tag = (await catalog.get(path)).headers["etag"]
    changed = await catalog.patch(
        path, person=operator(), headers={"If-Match": tag}, json={"claim_capacity": 5, "title_en": "Genes"}
    )
    assert (changed.status_code, changed.json()["claim_capacity"], changed.headers["etag"]) == (200, 5, '"2"')
    stale = await catalog.patch(path, person=operator(), headers={"If-Match": tag}, json={"claim_capacity": 6})
    assert stale.status_code == 412
    nothing = await catalog.patch(path, person=operator(), json={"title": None})
    assert nothing.json()["version"] == 2
    [told] = await catalog.envelopes(ProductChanged)
    assert (told.data.claim_capacity, told.sequence) == (5, 2)


async def test_a_changed_draft_is_not_told(catalog: ServiceUnderTest):
    product = await post_product(catalog, await catalog.add_area(), publish=False)
    await catalog.patch(f"/products/{product['id']}", person=operator(), json={"summary": "新的说明"})
    assert not await catalog.emitted(ProductChanged)


async def test_products_are_listed_by_subtree_category_kind_and_status(catalog: ServiceUnderTest):
    city = await catalog.add_area()
    court = await catalog.add_area(parents=[city])
    category = {"area_id": str(city), "scheme": "S2", "key": "green", "name": "绿色", "name_en": "Green"}
    category_id = (await catalog.post("/categories", person=operator(), json=category)).json()["id"]
    first = await post_product(catalog, city, kind="course")
    second = await post_product(catalog, court, category_id=category_id)
    third = await post_product(catalog, await catalog.add_area())
    await catalog.post(f"/products/{third['id']}/withdraw", person=operator())

    async def ids(**query: object) -> list[str]:
        return [item["id"] for item in (await catalog.get("/products", params=query)).json()["items"]]

    assert await ids() == [second["id"], first["id"]]
    assert await ids(area_id=city) == [second["id"], first["id"]]
    assert await ids(area_id=court) == [second["id"]]
    assert await ids(category_id=category_id) == [second["id"]]
    assert await ids(kind="course") == [first["id"]]
    assert await ids(status="withdrawn") == [third["id"]]
    assert await ids(status="any") == [third["id"], second["id"], first["id"]]
    page = (await catalog.get("/products?limit=1")).json()
    assert await ids(limit=1, cursor=page["next_cursor"]) == [first["id"]]


async def test_a_product_that_is_not_as_expected_is_refused_by_its_field(catalog: ServiceUnderTest):
    area = await catalog.add_area()
    product = await post_product(catalog, area)
    for change in (
        {"claim_capacity": 0},
        {"claim_capacity": 100_001},
        {"claim_capacity": 10**30},
        {"lease_hours": 0},
        {"kind": "party"},
        {"claimants": "nobody"},
        {"claim_policy": "draw"},
        {"tier": "D"},
        {"title": "\u0000"},
        {"category_id": str(uuid4())},
        {"version": 7},
    ):
        posted = await catalog.post("/products", person=operator(), json={**OFFER, "area_id": str(area), **change})
        patched = await catalog.patch(f"/products/{product['id']}", person=operator(), json=change)
        for answer in (posted, patched):
            assert answer.status_code == 422
            assert [error["field"] for error in answer.json()["errors"]] == [f"body.{next(iter(change))}"]


async def test_a_cursor_that_is_not_ours_is_refused(catalog: ServiceUnderTest):
    for path in ("/products", "/needs", "/rewards", "/categories", "/sessions"):
        for cursor in ("x", "W10=", "WzFd", "WyJhIl0=", "bnVsbA==", "%F0%9F%98%80"):
            answer = await catalog.get(f"{path}?cursor={cursor}")
            assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "query.cursor"), (path, cursor)


async def test_an_organisation_that_nobody_told_of_is_not_found_yet(catalog: ServiceUnderTest):
    body = {**OFFER, "area_id": str(await catalog.add_area()), "organisation_id": str(uuid4())}
    answer = await catalog.post("/products", person=operator(), json=body)
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:linli:problem:not_arrived")
