"""Products are written as JSON from the rows of one query, byte for byte as their declared model would be written."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi.routing import APIRoute
from pydantic import TypeAdapter
from sqlalchemy import Connection, event

from contracts.orders import ClaimAccepted, ReviewPosted
from services.catalog.product_views import CLAIMED_BY_MAX
from tests.harness import ServiceUnderTest, operator
from tests.services.catalog.stories import add_organisation, claim_fact, post_product


def declared(catalog: ServiceUnderTest, path: str) -> TypeAdapter[Any]:
    """What the route of this path says in the OpenAPI document that it answers."""
    [model] = [
        route.response_model
        for route in catalog.app.routes
        if isinstance(route, APIRoute) and route.path == f"/api/v1{path}" and route.methods == {"GET"}
    ]
    return TypeAdapter(model)


async def add_reviews(catalog: ServiceUnderTest, product: dict[str, Any], *stars: int) -> None:
    common = {name: product[name] for name in ("area_id", "title")} | {"product_id": product["id"]}
    nobody = {"claimant_type": None, "claimant_id": None}
    for number in stars:
        subject = {"subject_type": "claim", "subject_id": uuid4(), "person_id": uuid4(), "review_id": uuid4()}
        await catalog.receive(ReviewPosted.model_validate({**common, **nobody, **subject, "stars": number}))


@pytest.fixture
async def told(catalog: ServiceUnderTest) -> list[Any]:
    """Three products: with nothing that may be missing, with everything, and one that was not published."""
    area = await catalog.add_area()
    offering, claiming = await add_organisation(catalog, area, '党支部 "一"'), await add_organisation(catalog, area)
    plain = await post_product(catalog, area)
    full = await post_product(
        catalog, area, organisation_id=str(offering), tier="A", title_en="Genes\n\u2028", kind="wish"
    )
    draft = await post_product(catalog, area, publish=False)
    await catalog.receive(claim_fact(ClaimAccepted, full, uuid4(), claiming))
    await add_reviews(catalog, full, 5, 4, 4)
    return [plain, full, draft]


async def test_the_answers_are_what_the_declared_models_write(catalog: ServiceUnderTest, told: list[Any]):
    for path, query in (("/products", "?status=any"), *(("/products/{product_id}", product["id"]) for product in told)):
        address = path + query if "{" not in path else f"/products/{query}"
        answer = await catalog.get(address, person=operator())
        model = declared(catalog, path)
        assert answer.headers["content-type"] == "application/json"
        assert answer.content == model.dump_json(model.validate_json(answer.content))


async def test_who_changes_a_product_is_answered_what_everybody_reads(catalog: ServiceUnderTest, told: list[Any]):
    for product in told:
        changed = await catalog.patch(f"/products/{product['id']}", person=operator(), json={"summary": "新的说明"})
        read = await catalog.get(f"/products/{product['id']}", person=operator())
        assert (changed.content, changed.headers["etag"]) == (read.content, read.headers["etag"])


async def test_the_first_organisations_that_claimed_are_named_each_once(catalog: ServiceUnderTest):
    area = await catalog.add_area()
    product = await post_product(catalog, area, claim_capacity=100)
    organisations = [await add_organisation(catalog, area, f"支部{number}") for number in range(CLAIMED_BY_MAX + 2)]
    for number, organisation in reversed(list(enumerate(organisations))):
        for again in range(2):
            claim = UUID(int=(number + 1 + 100 * again) << 64)
            await catalog.receive(claim_fact(ClaimAccepted, product, claim, organisation))
    named = (await catalog.get(f"/products/{product['id']}")).json()["claimed_by"]
    assert [item["organisation_id"] for item in named] == [str(one) for one in organisations[:CLAIMED_BY_MAX]]


async def test_a_page_and_a_product_take_one_statement_each(catalog: ServiceUnderTest, told: list[Any]):
    statements: list[str] = []

    def note(_: Connection, __: Any, statement: str, *rest: Any) -> None:
        statements.append(statement)

    event.listen(catalog.db.engine.sync_engine, "before_cursor_execute", note)
    for path in ("/products", f"/products/{told[0]['id']}"):
        assert (await catalog.get(path)).status_code == 200
    assert len(statements) == 2
