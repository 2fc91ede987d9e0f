from uuid import uuid4

import pytest

from chassis.tokens import Grant
from chassis.world import World
from contracts.catalog import ProductWithdrawn
from contracts.orders import ClaimAccepted
from services.orders.app import SERVICE
from tests.harness import Clock, Databases, Person, coordinator, run_service
from tests.services.orders.scenes import (
    administrator,
    as_member,
    as_organisation,
    offer_product,
    places,
    refusal,
    registered,
    registration,
)


async def test_a_registered_member_claims_a_product_and_everybody_hears_and_sees_it(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        offered = await offer_product(orders)
        ann = await registered(orders, offered.area_id)

        answer = await orders.post(f"/products/{offered.product_id}/claims", person=ann, json=as_member(ann))

        assert answer.status_code == 201, answer.text
        claim = answer.json()
        assert claim["status"] == "accepted"
        assert claim["lease_until"] == "2026-03-04T08:00:00Z"
        assert claim["claimant"] == {"type": "member", "id": str(ann.id)}
        assert claim["title"] == offered.title
        assert claim["agreement"] is None
        assert claim["progress"] == []
        [fact] = await orders.envelopes(ClaimAccepted)
        assert (str(fact.data.claim_id), fact.data.person_id, fact.sequence) == (claim["id"], ann.id, 1)
        assert (await orders.get(f"/claims/{claim['id']}")).json() == claim
        assert (await orders.get(f"/products/{offered.product_id}/claims")).json()["items"] == [claim]
        assert (await orders.get("/me/claims", person=ann)).json()["items"] == [claim]
        assert (await orders.get("/me/claims", person=Person())).json()["items"] == []
        assert "person_id" not in claim


async def test_places_run_out_and_a_claimant_has_at_most_one(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        offered = await offer_product(orders, claim_capacity=1)
        path = f"/products/{offered.product_id}/claims"
        ann, bob = await registered(orders, offered.area_id), await registered(orders, offered.area_id)

        assert (await orders.post(path, person=ann, json=as_member(ann))).status_code == 201
        assert refusal(await orders.post(path, person=bob, json=as_member(bob))) == (409, "sold_out")
        assert refusal(await orders.post(path, person=ann, json=as_member(ann))) == (409, "already_claimed")
        assert await places(orders, offered.product_id) == (1, 1)
        assert len(await orders.emitted(ClaimAccepted)) == 1


async def test_a_key_has_one_effect_and_a_refusal_is_decided_afresh(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        offered = await offer_product(orders, claim_capacity=1)
        path = f"/products/{offered.product_id}/claims"
        ann, bob = await registered(orders, offered.area_id), await registered(orders, offered.area_id)

        first = await orders.post(path, person=ann, json=as_member(ann), key="a")
        assert (await orders.post(path, person=bob, json=as_member(bob), key="b")).status_code == 409
        again = await orders.post(path, person=ann, json=as_member(ann), key="a")
        assert (again.status_code, again.json()) == (201, first.json())
        organisation_id = uuid4()
        both = Person(id=ann.id, grants=administrator(organisation_id).grants)
        other = await orders.post(path, person=both, json=as_organisation(organisation_id), key="a")
        assert refusal(other) == (422, "key_reused")

        await orders.post(f"/claims/{first.json()['id']}/release", person=ann)
        assert (await orders.post(path, person=bob, json=as_member(bob), key="b")).status_code == 201


async def test_only_who_may_act_for_the_claimant_claims(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        offered = await offer_product(orders)
        path = f"/products/{offered.product_id}/claims"
        ann, organisation_id = await registered(orders, offered.area_id), uuid4()

        assert (await orders.post(path, person=Person(), json=as_member(ann))).status_code == 403
        assert (await orders.post(path, person=ann, json=as_organisation(organisation_id))).status_code == 403
        elsewhere = administrator(uuid4())
        assert (await orders.post(path, person=elsewhere, json=as_organisation(organisation_id))).status_code == 403
        assert (await orders.post(path, json=as_member(ann))).status_code == 401
        admin = administrator(organisation_id)
        assert (await orders.post(path, person=admin, json=as_organisation(organisation_id))).status_code == 201


async def test_a_member_has_to_be_registered_somewhere(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        offered = await offer_product(orders)
        ann = Person()
        answer = await orders.post(f"/products/{offered.product_id}/claims", person=ann, json=as_member(ann))
        assert refusal(answer) == (409, "not_registered")
        assert answer.headers["retry-after"] == "2"

        there = registration(ann, offered.area_id)
        await orders.receive(there.model_copy(update={"status": "left"}), sequence=2)
        await orders.receive(there, sequence=1)
        answer = await orders.post(f"/products/{offered.product_id}/claims", person=ann, json=as_member(ann))
        assert refusal(answer) == (409, "not_registered"), "who has left is not registered, whatever arrives late"


@pytest.mark.parametrize(
    ("terms", "kind"),
    [
        ({"claim_policy": "none"}, "not_open"),
        ({"claimants": "organisations"}, "claimant_not_allowed"),
        ({"claim_capacity": 0}, "sold_out"),
    ],
)
async def test_the_products_terms_decide_who_may_claim(databases: Databases, terms: dict[str, object], kind: str):
    async with run_service(SERVICE, databases) as orders:
        offered = await offer_product(orders, **terms)
        ann = await registered(orders, offered.area_id)
        answer = await orders.post(f"/products/{offered.product_id}/claims", person=ann, json=as_member(ann))
        assert refusal(answer) == (409, kind)


async def test_a_withdrawn_product_takes_no_claims(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        offered = await offer_product(orders)
        ann = await registered(orders, offered.area_id)
        gone = ProductWithdrawn(product_id=offered.product_id, area_id=offered.area_id, title=offered.title)
        await orders.receive(gone, sequence=2)
        answer = await orders.post(f"/products/{offered.product_id}/claims", person=ann, json=as_member(ann))
        assert refusal(answer) == (409, "not_open")


async def test_a_product_nobody_has_heard_of_is_not_there_yet(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        ann = Person()
        answer = await orders.post(f"/products/{uuid4()}/claims", person=ann, json=as_member(ann))
        assert refusal(answer) == (404, "not_arrived")
        assert answer.headers["retry-after"] == "2"
        assert (await orders.get(f"/claims/{uuid4()}")).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"claimant": None},
        {"claimant": {"type": "robot", "id": str(uuid4())}},
        {"claimant": {"type": "member", "id": "\u0000"}},
        {"claimant": {"type": "member", "id": str(uuid4()), "extra": 1}},
    ],
)
async def test_bad_input_is_named(databases: Databases, body: dict[str, object]):
    async with run_service(SERVICE, databases) as orders:
        answer = await orders.post(f"/products/{uuid4()}/claims", person=Person(), json=body)
        assert refusal(answer) == (422, "invalid_input")
        assert answer.json()["errors"][0]["field"].startswith("body")


async def test_a_claim_without_a_key_is_refused(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        ann = Person()
        path = f"/products/{uuid4()}/claims"
        answer = await orders.post(path, person=ann, json=as_member(ann), headers={"Idempotency-Key": ""})
        assert refusal(answer) == (400, "key_missing")


async def test_a_commit_that_fails_is_never_answered_with_success(databases: Databases):
    countdown: list[str] = []

    def failpoint(name: str) -> None:
        if name == "before_commit" and countdown and countdown.pop() == "fail":
            raise ConnectionResetError("the database went away")

    async with run_service(SERVICE, databases, world=World(now=Clock(), failpoint=failpoint)) as orders:
        offered, organisation_id = await offer_product(orders), uuid4()
        path, admin = f"/products/{offered.product_id}/claims", administrator(organisation_id)

        countdown += ["fail"]
        answer = await orders.post(path, person=admin, json=as_organisation(organisation_id), key="k")
        assert answer.status_code >= 500
        assert countdown == []
        assert await places(orders, offered.product_id) == (0, 0)
        assert await orders.emitted(ClaimAccepted) == []

        answer = await orders.post(path, person=admin, json=as_organisation(organisation_id), key="k")
        assert answer.status_code == 201


async def test_lists_go_on_page_by_page(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        offered = await offer_product(orders, claim_capacity=5)
        path = f"/products/{offered.product_id}/claims"
        organisations = [uuid4() for _ in range(5)]
        admin = Person(
            grants=tuple(Grant(role="organisation_admin", organisation_id=identity) for identity in organisations)
        )
        made = [
            (await orders.post(path, person=admin, json=as_organisation(organisation_id))).json()["id"]
            for organisation_id in organisations
        ]
        seen: list[str] = []
        query: dict[str, str] = {"limit": "2"}
        while "cursor" not in query or query["cursor"]:
            page = (await orders.get("/me/claims", person=admin, params=query)).json()
            seen += [claim["id"] for claim in page["items"]]
            query["cursor"] = page["next_cursor"]
        assert seen == made[::-1]
        for cursor in ("WyJ4Il0=", "WzVd", "W10=", "x"):
            assert refusal(await orders.get(path, params={"cursor": cursor})) == (422, "invalid_input")
        assert (await orders.get("/me/claims", person=coordinator(offered.area_id))).json()["items"] == []
