"""The catalogue: pages, details, searches and needs are read by index."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest

from contracts.orders import ClaimAccepted
from services.catalog.app import SERVICE
from tests.harness import Databases, Person, ServiceUnderTest, run_service
from tests.plans.crowd import make_crowd
from tests.plans.plans import captured, require_indexes
from tests.services.catalog.stories import add_organisation, claim_fact, post_need, post_product, post_session


@dataclass
class Town:
    """The catalogue, with one product that a rare word finds."""

    catalog: ServiceUnderTest
    area_id: UUID
    product: dict[str, Any]


@pytest.fixture(scope="module")
async def town(databases: Databases, server_url: str) -> AsyncIterator[Town]:
    async with run_service(SERVICE, databases) as catalog:
        area = await catalog.add_area()
        organisation = await add_organisation(catalog, area)
        product = await post_product(catalog, area, organisation_id=str(organisation))
        await catalog.receive(claim_fact(ClaimAccepted, product, uuid4(), organisation))
        await post_session(catalog, product["id"])
        await post_need(catalog, area, Person())
        await make_crowd(catalog, SERVICE, server_url)
        yield Town(catalog, area, await post_product(catalog, area, title="稀有", organisation_id=str(organisation)))


@pytest.mark.parametrize(
    ("path", "indexes"),
    [
        ("/products", ["pk_products", "pk_organisations", "ix_claims_seen_product_id_state"]),
        ("/products/{product_id}", ["pk_products", "pk_organisations", "ix_claims_seen_product_id_state"]),
        ("/products?status=draft", ["ix_products_status_id"]),
        ("/products?status=any", ["pk_products"]),
        ("/products?area_id={area_id}", ["pk_products"]),
        ("/products?category_id={nobody}", ["ix_products_category_id_id"]),
        ("/products?organisation_id={nobody}", ["ix_products_organisation_id_id"]),
        ("/products?kind=venue", ["ix_products_kind_id"]),
        ("/products?q=稀有", ["ix_products_search"]),
        ("/products?q=基因", ["pk_products"]),
        ("/products?q=基因&status=draft", ["ix_products_status_id"]),
        ("/products?q=基因&category_id={nobody}", ["ix_products_category_id_id"]),
        ("/products?q=稀有&area_id={area_id}&status=published", ["ix_products_search"]),
        ("/products/{product_id}/sessions", ["ix_sessions_product_id_starts_at_id"]),
        ("/sessions", ["ix_sessions_starts_at_id"]),
        ("/needs", ["pk_needs"]),
        ("/needs?status=posted", ["ix_needs_status_id"]),
        ("/needs?q=稀有", ["ix_needs_search"]),
        ("/needs?area_id={area_id}", ["pk_needs"]),
    ],
)
async def test_reading(town: Town, path: str, indexes: list[str]) -> None:
    address = path.format(product_id=town.product["id"], area_id=town.area_id, nobody=uuid4())
    async with captured(town.catalog.db) as plans:
        assert (await town.catalog.get(address)).status_code == 200
    require_indexes(plans, *indexes)
