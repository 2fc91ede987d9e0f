"""Products as they are found and shown: one, a list, and the names of those who offer and claim them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Text, cast, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.api import PageRequest
from chassis.errors import NotFound
from chassis.tokens import Principal
from contracts.catalog import ProductKind
from services.catalog.copies import ClaimSeen, Organisation
from services.catalog.models import Product, ProductStatus
from services.catalog.pages import newest_first
from services.catalog.rights import seen_by, sees
from services.catalog.search import matches
from services.catalog.views import ClaimingOrganisation, ProductView, view_product

CLAIMED_BY_MAX = 10
# What is on offer, and what has been achieved.
SHOWN: tuple[ProductStatus, ...] = ("published", "completed")


@dataclass(frozen=True)
class ProductFilter:
    """What a list of products is narrowed to; no statuses show whatever the person may see."""

    area_id: UUID | None
    category_id: UUID | None
    organisation_id: UUID | None
    kind: ProductKind | None
    statuses: Sequence[ProductStatus]
    q: str | None


async def find_product(session: AsyncSession, principal: Principal | None, product_id: UUID) -> Product:
    """The product; NotFound for one that the person may not know of."""
    product = await session.get(Product, product_id)
    if product is None or not sees(principal, product):
        raise NotFound()
    return product


async def list_products(
    session: AsyncSession, principal: Principal | None, wanted: ProductFilter, asked: PageRequest
) -> tuple[Sequence[Product], str | None]:
    """Products that the person may see, newest first; an area stands for its subtree."""
    query = select(Product).where(seen_by(principal))
    if wanted.statuses:
        query = query.where(Product.status.in_(wanted.statuses))
    if wanted.area_id is not None:
        query = query.where(Product.area_path.contains([wanted.area_id]))
    if wanted.category_id is not None:
        query = query.where(Product.category_id == wanted.category_id)
    if wanted.organisation_id is not None:
        query = query.where(Product.organisation_id == wanted.organisation_id)
    if wanted.kind is not None:
        query = query.where(Product.kind == wanted.kind)
    if wanted.q:
        query = query.where(matches(Product.search, wanted.q))
    return await newest_first(session, query, Product, asked)


async def view_products(session: AsyncSession, products: Sequence[Product]) -> list[ProductView]:
    """The products with the names of those who offer and claim them."""
    claimed = await _claimed_by(session, [product.id for product in products])
    offering = {product.organisation_id for product in products if product.organisation_id}
    names = select(Organisation.id, Organisation.name).where(Organisation.id.in_(offering))
    name_of = {row.id: row.name for row in await session.execute(names)} if offering else {}
    return [
        view_product(
            product,
            name_of.get(product.organisation_id) if product.organisation_id else None,
            claimed.get(product.id, []),
        )
        for product in products
    ]


async def _claimed_by(session: AsyncSession, product_ids: Sequence[UUID]) -> dict[UUID, list[ClaimingOrganisation]]:
    """Per product, the first `CLAIMED_BY_MAX` organisations whose claims stand."""
    # PostgreSQL knows no smallest UUID before version 18; as texts they sort alike.
    first_claim = func.min(cast(ClaimSeen.id, Text))
    claims = (
        select(
            ClaimSeen.product_id,
            ClaimSeen.organisation_id,
            func.row_number().over(partition_by=ClaimSeen.product_id, order_by=first_claim).label("place"),
        )
        .where(ClaimSeen.product_id.in_(product_ids), ClaimSeen.state != "released")
        .where(ClaimSeen.organisation_id.is_not(None))
        .group_by(ClaimSeen.product_id, ClaimSeen.organisation_id)
        .subquery()
    )
    named = (
        select(claims.c.product_id, Organisation.id, Organisation.name)
        .join(Organisation, Organisation.id == claims.c.organisation_id)
        .where(claims.c.place <= CLAIMED_BY_MAX)
        .order_by(claims.c.place)
    )
    found: dict[UUID, list[ClaimingOrganisation]] = {}
    for row in await session.execute(named) if product_ids else ():
        found.setdefault(row.product_id, []).append(ClaimingOrganisation(organisation_id=row.id, name=row.name))
    return found
