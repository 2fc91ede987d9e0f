"""What the catalogue's tests start from."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from chassis.tokens import Grant
from contracts.members import CentreOpened, OrganisationRegistered
from contracts.orders import ClaimAccepted, ClaimCompleted, ClaimFact, ClaimProgressed, ClaimReleased, ClaimSigned
from tests.harness import Person, ServiceUnderTest, operator

OFFER = {"kind": "project", "title": "慧眼识基因", "summary": "请专家来讲转基因。", "claim_capacity": 2}
SESSION = {
    "starts_at": "2026-03-06T16:30:00+08:00",
    "ends_at": "2026-03-06T18:00:00+08:00",
    "venue": "合兴区域党群工作站",
    "capacity": 30,
}


def organisation_admin(organisation_id: UUID) -> Person:
    return Person(grants=(Grant(role="organisation_admin", organisation_id=organisation_id),))


async def add_organisation(catalog: ServiceUnderTest, area_id: UUID, name: str = "种子站党支部") -> UUID:
    organisation_id = uuid4()
    await catalog.receive(
        OrganisationRegistered(organisation_id=organisation_id, area_id=area_id, kind="branch", name=name)
    )
    return organisation_id


async def add_centre(catalog: ServiceUnderTest, area_id: UUID) -> UUID:
    centre_id = uuid4()
    await catalog.receive(CentreOpened(centre_id=centre_id, area_id=area_id, name="一号中心", address="一号"))
    return centre_id


async def post_product(catalog: ServiceUnderTest, area_id: UUID, **terms: Any) -> Any:
    """A product, published unless it is said otherwise."""
    body = {**OFFER, "area_id": str(area_id), "publish": True, **terms}
    answer = await catalog.post("/products", person=operator(), json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def post_need(catalog: ServiceUnderTest, area_id: UUID, person: Person, **fields: Any) -> Any:
    body = {"area_id": str(area_id), "title": "想弄明白转基因", "body": "请懂行的人来讲一讲", **fields}
    answer = await catalog.post("/needs", person=person, json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def post_session(catalog: ServiceUnderTest, product_id: str, **fields: Any) -> Any:
    answer = await catalog.post(f"/products/{product_id}/sessions", person=operator(), json={**SESSION, **fields})
    assert answer.status_code == 201, answer.text
    return answer.json()


def claim_fact(
    kind: type[ClaimFact], product: dict[str, Any], claim_id: UUID, organisation_id: UUID | None = None
) -> ClaimFact:
    """A fact of the kind about a claim of the product, by the organisation or else by a member."""
    extra: dict[type[ClaimFact], dict[str, Any]] = {
        ClaimAccepted: {"lease_until": "2026-03-05T08:00:00Z"},
        ClaimProgressed: {"percent": 50},
        ClaimReleased: {"reason": "released"},
        ClaimSigned: {},
        ClaimCompleted: {},
    }
    return kind.model_validate(
        {
            "claim_id": claim_id,
            "product_id": product["id"],
            "area_id": product["area_id"],
            "title": product["title"],
            "claimant_type": "organisation" if organisation_id else "member",
            "claimant_id": organisation_id or uuid4(),
            "person_id": uuid4(),
            **extra[kind],
        }
    )


async def shown(catalog: ServiceUnderTest, product: dict[str, Any]) -> Any:
    answer = await catalog.get(f"/products/{product['id']}")
    assert answer.status_code == 200, answer.text
    return answer.json()
