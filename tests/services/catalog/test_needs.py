"""Needs and their triage."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from contracts.catalog import NeedAccepted, NeedDeclined, NeedFulfilled, NeedPosted, ProductPublished
from contracts.orders import ClaimAccepted, ClaimCompleted
from tests.harness import Person, ServiceUnderTest, coordinator, operator
from tests.services.catalog.stories import OFFER, claim_fact, organisation_admin, post_need, post_product


async def test_a_posted_need_is_public_and_told(catalog: ServiceUnderTest):
    area, ann = await catalog.add_area(), Person()
    need = await post_need(catalog, area, ann, section="i_help", kind="micro_wish", place="三单元")
    assert need["status"] == "posted"
    assert (need["section"], need["kind"], need["version"]) == ("i_help", "micro_wish", 1)
    assert need["track"] == [{"status": "posted", "at": need["posted_at"]}]
    [told] = await catalog.envelopes(NeedPosted)
    assert (str(told.data.need_id), told.data.person_id, told.sequence) == (need["id"], ann.id, 1)
    assert (await catalog.get(f"/needs/{need['id']}")).status_code == 200


async def test_who_asked_and_where_is_for_the_requester_and_the_coordinators(catalog: ServiceUnderTest):
    area, elsewhere, ann = await catalog.add_area(), await catalog.add_area(), Person()
    need = await post_need(catalog, area, ann, place="三单元")
    for person in (ann, coordinator(area), operator()):
        known = (await catalog.get(f"/needs/{need['id']}", person=person)).json()
        assert (known["requester_id"], known["place"]) == (str(ann.id), "三单元")
    for stranger in (None, Person(), coordinator(elsewhere), organisation_admin(uuid4())):
        hidden = (await catalog.get(f"/needs/{need['id']}", person=stranger)).json()
        assert (hidden["requester_id"], hidden["place"]) == (None, None)
        [listed] = (await catalog.get("/needs", person=stranger)).json()["items"]
        assert listed["requester_id"] is None


async def test_an_accepted_need_becomes_a_product_in_its_category(catalog: ServiceUnderTest):
    area, ann = await catalog.add_area(), Person()
    category = (
        await catalog.post(
            "/categories",
            person=operator(),
            json={"area_id": str(area), "scheme": "S2", "key": "green", "name": "绿色", "name_en": "Green"},
        )
    ).json()
    need = await post_need(catalog, area, ann, category_id=category["id"])
    answer = await catalog.post(f"/needs/{need['id']}/accept", person=coordinator(area), json={"product": OFFER})
    assert answer.status_code == 200, answer.text
    product = answer.json()["product"]
    assert (product["status"], product["need_id"], product["category_id"]) == (
        "published",
        need["id"],
        category["id"],
    )
    assert (answer.json()["need"]["status"], answer.json()["need"]["product_id"]) == ("accepted", product["id"])
    assert [step["status"] for step in answer.json()["need"]["track"]] == ["posted", "accepted"]
    [told] = await catalog.envelopes(NeedAccepted)
    assert (str(told.data.product_id), told.data.person_id, told.sequence) == (product["id"], ann.id, 2)
    [published] = await catalog.emitted(ProductPublished)
    assert (str(published.product_id), published.claim_capacity) == (product["id"], 2)


async def test_a_need_can_be_accepted_as_a_draft(catalog: ServiceUnderTest):
    area = await catalog.add_area()
    need = await post_need(catalog, area, Person())
    body = {"product": {**OFFER, "publish": False}}
    answer = await catalog.post(f"/needs/{need['id']}/accept", person=operator(), json=body)
    assert answer.json()["product"]["status"] == "draft"
    assert not await catalog.emitted(ProductPublished)


async def test_a_declined_need_says_why(catalog: ServiceUnderTest):
    area = await catalog.add_area()
    need = await post_need(catalog, area, Person())
    answer = await catalog.post(f"/needs/{need['id']}/decline", person=operator(), json={"reason": "已有同类项目"})
    assert (answer.json()["status"], answer.json()["reason"]) == ("declined", "已有同类项目")
    [told] = await catalog.envelopes(NeedDeclined)
    assert (told.data.reason, told.sequence) == ("已有同类项目", 2)


async def test_a_need_is_decided_once_even_by_two_at_the_same_time(catalog: ServiceUnderTest):
    area = await catalog.add_area()
    need = await post_need(catalog, area, Person())
    answers = await asyncio.gather(
        *(catalog.post(f"/needs/{need['id']}/accept", person=operator(), json={"product": OFFER}) for _ in range(4)),
        *(catalog.post(f"/needs/{need['id']}/decline", person=operator(), json={"reason": "否"}) for _ in range(4)),
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 7
    refused = next(answer for answer in answers if answer.status_code == 409)
    assert refused.json()["type"] == "urn:linli:problem:need_decided"
    assert len(await catalog.emitted(NeedAccepted)) + len(await catalog.emitted(NeedDeclined)) == 1
    assert len((await catalog.get("/products?status=any", person=operator())).json()["items"]) <= 1


@pytest.mark.parametrize("decision", [("accept", {"product": OFFER}), ("decline", {"reason": "否"})])
async def test_only_coordinators_of_the_area_decide(catalog: ServiceUnderTest, decision):
    verb, body = decision
    area, elsewhere, ann = await catalog.add_area(), await catalog.add_area(), Person()
    need = await post_need(catalog, area, ann)
    for person, status in ((None, 401), (ann, 403), (coordinator(elsewhere), 403)):
        assert (await catalog.post(f"/needs/{need['id']}/{verb}", person=person, json=body)).status_code == status
    missing = await catalog.post(f"/needs/{uuid4()}/{verb}", person=operator(), json=body)
    assert missing.status_code == 404


async def test_the_first_completed_claim_fulfils_the_need_once(catalog: ServiceUnderTest):
    area = await catalog.add_area()
    need = await post_need(catalog, area, Person())
    accepted = await catalog.post(f"/needs/{need['id']}/accept", person=operator(), json={"product": OFFER})
    product = accepted.json()["product"]
    first, second = uuid4(), uuid4()
    await catalog.receive(claim_fact(ClaimAccepted, product, first))
    assert not await catalog.emitted(NeedFulfilled)
    done = await catalog.receive(claim_fact(ClaimCompleted, product, first), sequence=4)
    await catalog.deliver(*done)
    await catalog.receive(claim_fact(ClaimCompleted, product, second), sequence=4)
    [told] = await catalog.envelopes(NeedFulfilled)
    assert (str(told.data.need_id), str(told.data.product_id), told.sequence) == (need["id"], product["id"], 3)
    now = (await catalog.get(f"/needs/{need['id']}")).json()
    assert (now["status"], [step["status"] for step in now["track"]]) == (
        "fulfilled",
        ["posted", "accepted", "fulfilled"],
    )


async def test_needs_are_listed_by_subtree_and_status(catalog: ServiceUnderTest):
    city = await catalog.add_area()
    court = await catalog.add_area(parents=[city])
    other = await catalog.add_area()
    wanted = [await post_need(catalog, place, Person()) for place in (city, court)]
    away = await post_need(catalog, other, Person())
    await catalog.post(f"/needs/{away['id']}/decline", person=operator(), json={"reason": "否"})

    async def ids(query: str) -> list[str]:
        return [item["id"] for item in (await catalog.get(f"/needs{query}")).json()["items"]]

    assert await ids(f"?area_id={city}") == [wanted[1]["id"], wanted[0]["id"]]
    assert await ids(f"?area_id={court}") == [wanted[1]["id"]]
    assert await ids("?status=declined") == [away["id"]]
    assert await ids("?limit=1") == [away["id"]]


async def test_a_need_that_is_not_as_expected_is_refused_by_its_field(catalog: ServiceUnderTest):
    area = await catalog.add_area()
    for change, field in (
        ({"title": ""}, "body.title"),
        ({"title": "很" * 101}, "body.title"),
        ({"title": "a\x00b"}, "body.title"),
        ({"section": "nobody"}, "body.section"),
        ({"category_id": str(uuid4())}, "body.category_id"),
        ({"person_id": str(uuid4())}, "body.person_id"),
    ):
        body = {"area_id": str(area), "title": "标题", "body": "内容", **change}
        answer = await catalog.post("/needs", person=Person(), json=body)
        assert answer.status_code == 422
        assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_a_completed_claim_of_another_product_fulfils_nothing(catalog: ServiceUnderTest):
    area = await catalog.add_area()
    need = await post_need(catalog, area, Person())
    await catalog.post(f"/needs/{need['id']}/accept", person=operator(), json={"product": OFFER})
    other = await post_product(catalog, area)
    await catalog.receive(claim_fact(ClaimCompleted, other, uuid4()), sequence=4)
    assert not await catalog.emitted(NeedFulfilled)
