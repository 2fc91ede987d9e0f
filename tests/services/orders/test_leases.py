from uuid import uuid4

import pytest

from contracts.orders import ClaimCompleted, ClaimProgressed, ClaimReleased, ClaimSigned
from services.orders.app import SERVICE
from services.orders.claim_views import REPORTS_SHOWN
from services.orders.leases import release_expired
from tests.harness import Databases, Person, ServiceUnderTest, coordinator, operator, run_service
from tests.services.orders.scenes import (
    administrator,
    as_member,
    as_organisation,
    offer_product,
    places,
    refusal,
    registered,
)


async def claimed(orders: ServiceUnderTest, **terms: object) -> tuple[Person, str, Person]:
    """A claim that a member made: who, its id, and the area's coordinator."""
    offered = await offer_product(orders, **terms)
    ann = await registered(orders, offered.area_id)
    answer = await orders.post(f"/products/{offered.product_id}/claims", person=ann, json=as_member(ann))
    return ann, answer.json()["id"], coordinator(offered.area_id)


async def test_signing_publishes_the_agreement_in_both_languages_and_extends_the_lease(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        ann, claim_id, _ = await claimed(orders)
        assert (await orders.post(f"/claims/{claim_id}/sign", person=Person())).status_code == 403
        assert (await orders.post(f"/claims/{claim_id}/sign")).status_code == 401

        signed = (await orders.post(f"/claims/{claim_id}/sign", person=ann)).json()
        assert (signed["status"], signed["signed_at"]) == ("signed", "2026-03-02T08:00:00Z")
        assert signed["lease_until"] == "2026-04-01T08:00:00Z"
        chinese = await orders.get(f"/claims/{claim_id}")
        english = await orders.get(f"/claims/{claim_id}", headers={"Accept-Language": "en"})
        assert "项目责任书" in chinese.json()["agreement"]
        assert "四点半" in chinese.json()["agreement"]
        assert "responsibility agreement" in english.json()["agreement"]
        again = (await orders.post(f"/claims/{claim_id}/sign", person=ann)).json()
        assert again == signed
        assert [envelope.sequence for envelope in await orders.envelopes(ClaimSigned)] == [2]


async def test_progress_extends_the_lease_and_everybody_sees_it(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        ann, claim_id, _ = await claimed(orders)
        path = f"/claims/{claim_id}/progress"
        assert refusal(await orders.post(path, person=ann, json={"percent": 10})) == (409, "not_signed")
        await orders.post(f"/claims/{claim_id}/sign", person=ann)
        orders.clock.advance(days=20)
        assert (await orders.post(path, person=Person(), json={"percent": 10})).status_code == 403
        answer = await orders.post(path, person=ann, json={"percent": 40, "note": "开了两次课"})
        assert answer.json()["lease_until"] == "2026-04-21T08:00:00Z"
        claim = (await orders.get(f"/claims/{claim_id}")).json()
        assert claim["percent"] == 40
        assert claim["progress"] == [{"percent": 40, "note": "开了两次课", "at": "2026-03-22T08:00:00Z"}]
        [fact] = await orders.emitted(ClaimProgressed)
        assert fact.percent == 40


async def test_a_claim_shows_its_newest_reports_and_a_list_the_last_one(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        ann, claim_id, _ = await claimed(orders)
        await orders.post(f"/claims/{claim_id}/sign", person=ann)
        for percent in range(REPORTS_SHOWN + 5):
            await orders.post(f"/claims/{claim_id}/progress", person=ann, json={"percent": percent})
        shown = (await orders.get(f"/claims/{claim_id}")).json()["progress"]
        assert [report["percent"] for report in shown] == list(range(5, REPORTS_SHOWN + 5))
        [listed] = (await orders.get("/me/claims", person=ann)).json()["items"]
        assert [report["percent"] for report in listed["progress"]] == [REPORTS_SHOWN + 4]


@pytest.mark.parametrize(
    "body", [{}, {"percent": 101}, {"percent": -1}, {"percent": "ten"}, {"percent": 5, "note": "a\u0000"},
             {"percent": 5, "note": "x" * 1001}, {"percent": 10**30}]
)  # fmt: skip
async def test_bad_progress_is_named(databases: Databases, body: dict[str, object]):
    async with run_service(SERVICE, databases) as orders:
        answer = await orders.post(f"/claims/{uuid4()}/progress", person=Person(), json=body)
        assert refusal(answer) == (422, "invalid_input")


async def test_only_the_areas_coordinator_or_an_operator_accepts_a_completion(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        ann, claim_id, cora = await claimed(orders)
        path = f"/claims/{claim_id}/complete"
        assert refusal(await orders.post(path, person=cora)) == (409, "not_signed")
        await orders.post(f"/claims/{claim_id}/sign", person=ann)
        assert (await orders.post(path, person=ann)).status_code == 403
        assert (await orders.post(path, person=coordinator(uuid4()))).status_code == 403

        done = (await orders.post(path, person=cora)).json()
        assert (done["status"], done["percent"]) == ("completed", 100)
        assert (await orders.post(path, person=operator())).json() == done
        assert len(await orders.emitted(ClaimCompleted)) == 1
        assert refusal(await orders.post(f"/claims/{claim_id}/release", person=ann)) == (409, "claim_ended")
        again = await orders.post(f"/claims/{claim_id}/progress", person=ann, json={"percent": 1})
        assert refusal(again) == (409, "claim_ended")


async def test_a_completed_claim_keeps_its_place_and_a_released_one_gives_it_back_once(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        offered = await offer_product(orders, claim_capacity=2)
        path = f"/products/{offered.product_id}/claims"
        one, two = uuid4(), uuid4()
        first = (await orders.post(path, person=administrator(one), json=as_organisation(one))).json()["id"]
        second = (await orders.post(path, person=administrator(two), json=as_organisation(two))).json()["id"]
        await orders.post(f"/claims/{first}/sign", person=administrator(one))
        await orders.post(f"/claims/{first}/complete", person=operator())
        assert await places(orders, offered.product_id) == (2, 2)

        assert (await orders.post(f"/claims/{second}/release", person=Person())).status_code == 403
        assert (await orders.post(f"/claims/{second}/release", person=administrator(one))).status_code == 403
        for _ in range(2):
            answer = await orders.post(f"/claims/{second}/release", person=administrator(two))
            assert answer.json()["status"] == "released"
        assert await places(orders, offered.product_id) == (1, 1)
        [fact] = await orders.emitted(ClaimReleased)
        assert fact.reason == "released"
        assert (await orders.post(path, person=administrator(two), json=as_organisation(two))).status_code == 201
        assert refusal(await orders.post(f"/claims/{second}/sign", person=administrator(two))) == (409, "claim_ended")


async def test_a_coordinator_may_release_a_claim(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        _, claim_id, cora = await claimed(orders)
        assert (await orders.post(f"/claims/{claim_id}/release", person=cora)).json()["status"] == "released"


async def test_what_is_not_signed_in_time_is_released_by_itself(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        ann, claim_id, _ = await claimed(orders, claim_capacity=1)
        orders.clock.advance(hours=47)
        await release_expired(orders.db)
        assert (await orders.get(f"/claims/{claim_id}")).json()["status"] == "accepted"
        orders.clock.advance(hours=1)
        assert refusal(await orders.post(f"/claims/{claim_id}/sign", person=ann)) == (409, "claim_ended")

        await release_expired(orders.db)
        await release_expired(orders.db)
        claim = (await orders.get(f"/claims/{claim_id}")).json()
        assert claim["status"] == "released"
        [envelope] = await orders.envelopes(ClaimReleased)
        assert (envelope.data.reason, envelope.sequence) == ("lease_expired", claim["version"])
        assert await places(orders, envelope.data.product_id) == (0, 0)


async def test_a_signed_claim_without_progress_is_released_and_a_completed_one_never(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        ann, idle, _ = await claimed(orders)
        bob, done, cora = await claimed(orders)
        await orders.post(f"/claims/{idle}/sign", person=ann)
        await orders.post(f"/claims/{done}/sign", person=bob)
        await orders.post(f"/claims/{done}/complete", person=cora)
        orders.clock.advance(days=31)
        await release_expired(orders.db)
        assert (await orders.get(f"/claims/{idle}")).json()["status"] == "released"
        assert (await orders.get(f"/claims/{done}")).json()["status"] == "completed"
