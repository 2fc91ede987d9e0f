"""What the tests of orders have in common: offers as catalog tells of them, and people as members does."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import func, select

from chassis.tokens import Grant
from contracts.catalog import ProductPublished, SessionScheduled
from contracts.members import RegistrationChanged
from services.orders.models import Booking, Claim, ProductOffer, SessionOffer
from tests.harness import Person, ServiceUnderTest

TITLE = "四点半儿童乐园"


def product(area_id: UUID, **other: Any) -> ProductPublished:
    """A product that anybody may claim, with three places."""
    terms: dict[str, Any] = {
        "product_id": uuid4(),
        "area_id": area_id,
        "category_id": None,
        "kind": "project",
        "title": TITLE,
        "organisation_id": None,
        "claim_policy": "first_come",
        "claimants": "both",
        "claim_capacity": 3,
        "lease_hours": 48,
    }
    return ProductPublished(**{**terms, **other})


def session_of(offered: ProductPublished, orders: ServiceUnderTest, **other: Any) -> SessionScheduled:
    """A session of the product in two days, with ten seats and automatic confirmation."""
    starts_at = orders.clock() + timedelta(days=2)
    terms: dict[str, Any] = {
        "session_id": uuid4(),
        "product_id": offered.product_id,
        "area_id": offered.area_id,
        "title": offered.title,
        "starts_at": starts_at,
        "ends_at": starts_at + timedelta(hours=2),
        "book_until": starts_at - timedelta(hours=1),
        "venue": "党群服务中心",
        "capacity": 10,
        "confirmation": "automatic",
    }
    return SessionScheduled(**{**terms, **other})


async def offer_product(orders: ServiceUnderTest, **other: Any) -> ProductPublished:
    """A published product in a new area."""
    offered = product(await orders.add_area(), **other)
    await orders.receive(offered)
    return offered


async def offer_session(orders: ServiceUnderTest, **other: Any) -> SessionScheduled:
    """A scheduled session of a new product."""
    scheduled = session_of(await offer_product(orders), orders, **other)
    await orders.receive(scheduled)
    return scheduled


async def registered(orders: ServiceUnderTest, area_id: UUID) -> Person:
    """Somebody who registered with the area."""
    person = Person()
    await orders.receive(registration(person, area_id))
    return person


def registration(person: Person, area_id: UUID) -> RegistrationChanged:
    return RegistrationChanged(
        registration_id=uuid4(),
        subject="person",
        person_id=person.id,
        organisation_id=None,
        area_id=area_id,
        status="active",
    )


def administrator(organisation_id: UUID) -> Person:
    """Somebody who may act for the organisation."""
    return Person(grants=(Grant(role="organisation_admin", organisation_id=organisation_id),))


def as_member(person: Person) -> dict[str, Any]:
    """The body of a claim in one's own right."""
    return {"claimant": {"type": "member", "id": str(person.id)}}


def as_organisation(organisation_id: UUID) -> dict[str, Any]:
    """The body of a claim for an organisation."""
    return {"claimant": {"type": "organisation", "id": str(organisation_id)}}


def refusal(answer: Any) -> tuple[int, str]:
    """Status and problem type of an answer."""
    return answer.status_code, answer.json()["type"].rpartition(":")[2]


async def places(orders: ServiceUnderTest, product_id: UUID) -> tuple[int, int]:
    """Places that the product counts as taken, and claims that hold one."""
    async with orders.db.transaction() as session:
        held = select(func.count()).select_from(Claim).where(Claim.product_id == product_id, Claim.status != "released")
        counted = select(ProductOffer.claim_taken).where(ProductOffer.product_id == product_id)
        return (await session.scalar(counted) or 0, await session.scalar(held) or 0)


async def seats(orders: ServiceUnderTest, session_id: UUID) -> tuple[int, int, int]:
    """Seats that the session counts as taken, seats that live bookings have, and the limit."""
    async with orders.db.transaction() as session:
        live = select(func.coalesce(func.sum(Booking.seats), 0)).where(
            Booking.session_id == session_id, Booking.status.in_(("pending", "confirmed"))
        )
        offer = await session.get_one(SessionOffer, session_id)
        return offer.seats_taken, int(await session.scalar(live) or 0), offer.seat_limit
