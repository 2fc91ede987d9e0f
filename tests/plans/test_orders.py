"""Orders: claims, bookings and redemptions are decided and listed by index."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from contracts.catalog import ProductPublished, SessionScheduled
from services.orders.app import SERVICE
from tests.harness import Databases, Person, ServiceUnderTest, run_service
from tests.plans.crowd import make_crowd
from tests.plans.plans import captured, require_indexes
from tests.services.orders.scenes import as_member, product, registered, session_of
from tests.services.orders.shop import Shop, open_shop


@dataclass
class Town:
    """Orders, with an offer of each kind."""

    orders: ServiceUnderTest
    offered: ProductPublished
    scheduled: SessionScheduled
    shop: Shop

    async def claim(self, person: Person) -> str:
        path = f"/products/{self.offered.product_id}/claims"
        answer = await self.orders.post(path, person=person, json=as_member(person))
        assert answer.status_code == 201
        return f"/claims/{answer.json()['id']}"

    async def book(self, person: Person) -> None:
        path = f"/sessions/{self.scheduled.session_id}/bookings"
        assert (await self.orders.post(path, person=person, json={"seats": 1})).status_code == 201

    async def redeem(self, person: Person) -> None:
        assert (await self.shop.redeem(person)).status_code == 202


@pytest.fixture(scope="module")
async def town(databases: Databases, server_url: str) -> AsyncIterator[Town]:
    async with run_service(SERVICE, databases) as orders:
        shop = await open_shop(orders)
        offered = product(shop.area_id, claim_capacity=100)
        scheduled = session_of(offered, orders)
        await orders.receive(offered, scheduled)
        made = Town(orders, offered, scheduled, shop)
        person = await registered(orders, shop.area_id)
        claim = await made.claim(person)
        assert (await orders.post(f"{claim}/sign", person=person)).status_code == 200
        assert (await orders.post(f"{claim}/progress", person=person, json={"percent": 10})).status_code == 200
        await made.book(person)
        await made.redeem(person)
        await make_crowd(orders, SERVICE, server_url)
        yield made


async def test_a_claim(town: Town) -> None:
    person = await registered(town.orders, town.shop.area_id)
    async with captured(town.orders.db) as plans:
        await town.claim(person)
    require_indexes(plans, "pk_product_offers", "uq_claims_product_id_claimant_id_held", "pk_idempotency_keys")


async def test_a_booking(town: Town) -> None:
    person = await registered(town.orders, town.shop.area_id)
    async with captured(town.orders.db) as plans:
        await town.book(person)
    require_indexes(plans, "pk_session_offers", "uq_bookings_session_id_person_id_live", "pk_idempotency_keys")


async def test_a_redemption(town: Town) -> None:
    async with captured(town.orders.db) as plans:
        await town.redeem(Person())
    require_indexes(plans, "pk_reward_offers", "pk_idempotency_keys")


@pytest.mark.parametrize(
    ("path", "index"),
    [
        ("/me/claims", "ix_claims_person_id_id"),
        ("/me/bookings", "ix_bookings_person_id_id"),
        ("/me/redemptions", "ix_redemptions_person_id_id"),
        ("/products/{product_id}/claims", "ix_claims_product_id_id"),
    ],
)
async def test_a_list(town: Town, path: str, index: str) -> None:
    async with captured(town.orders.db) as plans:
        answer = await town.orders.get(path.format(product_id=town.offered.product_id), person=Person())
        assert answer.status_code == 200
    require_indexes(plans, index)
