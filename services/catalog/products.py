"""Products: drafted, published, changed, withdrawn. A product whose claims are all completed is completed.

A draft of an organisation's administrator is published by a coordinator. `completed` is for the public to see: orders,
which alone decides about claims, hears nothing of it, and a product that gets more capacity is published again.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from chassis import scopes
from chassis.api import require_match
from chassis.audit import note
from chassis.db import world_of
from chassis.errors import Forbidden, NotFound
from chassis.outbox import emit
from chassis.tokens import Principal
from contracts.catalog import ProductChanged, ProductPublished, ProductTerms, ProductWithdrawn
from services.catalog.bodies import NewProduct, OfferTerms, ProductChanges
from services.catalog.categories import require_category
from services.catalog.models import Product, ProductStatus
from services.catalog.refusals import ProductNotPublished
from services.catalog.rights import COORDINATORS, administers, require_coordinator, require_offering, sees
from services.catalog.search import vector

OFFERED: tuple[ProductStatus, ...] = ("published", "completed")


async def offer_product(session: AsyncSession, principal: Principal, new: NewProduct) -> Product:
    """A new product: a coordinator's, published at once if asked for, or an organisation administrator's draft."""
    is_own_draft = administers(principal, new.organisation_id) and not new.publish
    if not is_own_draft and not await scopes.covers(session, principal, new.area_id, *COORDINATORS):
        raise Forbidden()
    await require_category(session, new.category_id, "body.category_id")
    product = await draft_product(
        session, principal.person_id, new, area_id=new.area_id, organisation_id=new.organisation_id
    )
    if new.publish:
        publish(session, product)
    note(session, principal.person_id, "offer_product", product.id, published=new.publish)
    return product


async def draft_product(
    session: AsyncSession,
    author_id: UUID,
    terms: OfferTerms,
    *,
    area_id: UUID,
    organisation_id: UUID | None = None,
    need_id: UUID | None = None,
) -> Product:
    """A draft on these terms; rights and category are the caller's to check."""
    world = world_of(session)
    product = Product(
        id=world.new_id(),
        area_id=area_id,
        area_path=list(await scopes.path_of(session, area_id)),
        organisation_id=organisation_id,
        need_id=need_id,
        status="draft",
        created_by=author_id,
        created_at=world.now(),
        version=1,
        search=vector(terms.title, terms.title_en, terms.summary),
        **terms.model_dump(include=set(OfferTerms.model_fields)),
    )
    session.add(product)
    await session.flush()
    return product


async def change_product(
    session: AsyncSession, principal: Principal, product_id: UUID, changes: ProductChanges, if_match: str | None
) -> Product:
    """The product with other terms, told if it is offered; once it was published only coordinators change it."""
    product = await locked_product(session, principal, product_id)
    if product.status == "draft":
        await require_offering(session, principal, product)
    else:
        await require_coordinator(session, principal, product.area_id)
    require_match(if_match, product.version)
    await require_category(session, changes.category_id, "body.category_id")
    changed = changes.model_dump(exclude_none=True)
    if not changed:
        return product
    for name, value in changed.items():
        setattr(product, name, value)
    product.search = vector(product.title, product.title_en, product.summary)
    product.version += 1
    settle_completion(product)
    if product.status in OFFERED:
        emit(session, _told(ProductChanged, product), sequence=product.version)
    note(session, principal.person_id, "change_product", product.id, fields=", ".join(changed))
    return product


async def publish_product(session: AsyncSession, principal: Principal, product_id: UUID) -> Product:
    """The product, published from now on if it was not."""
    product = await locked_product(session, principal, product_id)
    await require_coordinator(session, principal, product.area_id)
    if product.status not in OFFERED:
        product.version += 1
        publish(session, product)
        note(session, principal.person_id, "publish_product", product.id)
    return product


def publish(session: AsyncSession, product: Product) -> None:
    """Offer the product in its present version."""
    product.status = "published"
    product.published_at = world_of(session).now()
    settle_completion(product)
    emit(session, _told(ProductPublished, product), sequence=product.version)


async def withdraw_product(session: AsyncSession, principal: Principal, product_id: UUID) -> Product:
    """The product, off offer from now on if it was not; ProductNotPublished for a draft."""
    product = await locked_product(session, principal, product_id)
    await require_offering(session, principal, product)
    if product.status == "draft":
        raise ProductNotPublished()
    if product.status in OFFERED:
        product.version += 1
        fact = ProductWithdrawn(product_id=product.id, area_id=product.area_id, title=product.title)
        emit(session, fact, sequence=product.version)
        product.status = "withdrawn"
        note(session, principal.person_id, "withdraw_product", product.id)
    return product


def settle_completion(product: Product) -> None:
    """An offered product is completed exactly when as many claims as it takes are."""
    if product.status in OFFERED:
        done = product.claim_policy != "none" and product.claims_completed >= product.claim_capacity
        product.status = "completed" if done else "published"


async def locked_product(session: AsyncSession, principal: Principal, product_id: UUID) -> Product:
    """The product, this transaction's to change; NotFound for one that the person may not know of."""
    product = await session.get(Product, product_id, with_for_update={"key_share": True})
    if product is None or not sees(principal, product):
        raise NotFound()
    return product


def _told(fact: type[ProductTerms], product: Product) -> ProductTerms:
    return fact(
        product_id=product.id,
        area_id=product.area_id,
        category_id=product.category_id,
        kind=product.kind,
        title=product.title,
        organisation_id=product.organisation_id,
        claim_policy=product.claim_policy,
        claimants=product.claimants,
        claim_capacity=product.claim_capacity,
        lease_hours=product.lease_hours,
    )
