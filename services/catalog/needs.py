"""Needs: posted by residents, accepted as a product or declined by a coordinator, fulfilled by a completed claim."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from chassis import scopes
from chassis.api import PageRequest
from chassis.audit import note
from chassis.db import world_of
from chassis.errors import NotFound
from chassis.outbox import emit
from chassis.tokens import Principal
from contracts.catalog import NeedAccepted, NeedDeclined, NeedFulfilled, NeedPosted
from services.catalog.bodies import NewNeed, ProductOfNeed
from services.catalog.categories import require_category
from services.catalog.models import Need, NeedStatus, Product
from services.catalog.pages import newest_first
from services.catalog.products import draft_product, publish
from services.catalog.refusals import NeedDecided
from services.catalog.rights import coordinates, require_coordinator
from services.catalog.search import matches, vector
from services.catalog.views import NeedView, view_need


async def post_need(session: AsyncSession, principal: Principal, new: NewNeed) -> Need:
    """A new need of this person's, to be decided by a coordinator of its area."""
    world = world_of(session)
    await require_category(session, new.category_id, "body.category_id")
    need = Need(
        id=world.new_id(),
        area_path=list(await scopes.path_of(session, new.area_id)),
        person_id=principal.person_id,
        status="posted",
        posted_at=world.now(),
        version=1,
        search=vector(new.title, new.body),
        **new.model_dump(),
    )
    session.add(need)
    fact = NeedPosted(
        need_id=need.id,
        area_id=need.area_id,
        category_id=need.category_id,
        person_id=need.person_id,
    )
    emit(session, fact, sequence=need.version)
    return need


async def accept_need(
    session: AsyncSession, principal: Principal, need_id: UUID, offer: ProductOfNeed
) -> tuple[Need, Product]:
    """The need, accepted, and the product made from it; NeedDecided when it was decided before."""
    need = await _undecided(session, principal, need_id)
    await require_category(session, offer.category_id, "body.product.category_id")
    terms = offer.model_copy(update={"category_id": offer.category_id or need.category_id})
    product = await draft_product(session, principal.person_id, terms, area_id=need.area_id, need_id=need.id)
    if offer.publish:
        publish(session, product)
    need.product_id = product.id
    _decide(session, need, principal, "accepted")
    fact = NeedAccepted(
        need_id=need.id,
        area_id=need.area_id,
        person_id=need.person_id,
        title=need.title,
        product_id=product.id,
    )
    emit(session, fact, sequence=need.version)
    return need, product


async def decline_need(session: AsyncSession, principal: Principal, need_id: UUID, reason: str) -> Need:
    """The need, declined for a reason that everybody can read; NeedDecided when it was decided before."""
    need = await _undecided(session, principal, need_id)
    need.reason = reason
    _decide(session, need, principal, "declined")
    fact = NeedDeclined(
        need_id=need.id, area_id=need.area_id, person_id=need.person_id, title=need.title, reason=reason
    )
    emit(session, fact, sequence=need.version)
    return need


async def fulfil_needs(session: AsyncSession, product_ids: Collection[UUID]) -> None:
    """Fulfil the needs from which these products, of which a claim is completed, were made; each once."""
    accepted = select(Need).where(Need.product_id.in_(product_ids), Need.status == "accepted").order_by(Need.id)
    for need in (await session.scalars(accepted.with_for_update())).all() if product_ids else ():
        need.status = "fulfilled"
        need.fulfilled_at = world_of(session).now()
        need.version += 1
        if need.product_id is not None:
            fact = NeedFulfilled(
                need_id=need.id,
                area_id=need.area_id,
                person_id=need.person_id,
                title=need.title,
                product_id=need.product_id,
            )
            emit(session, fact, sequence=need.version)


async def find_need(session: AsyncSession, need_id: UUID) -> Need:
    """The need: all needs are public."""
    need = await session.get(Need, need_id)
    if need is None:
        raise NotFound()
    return need


async def list_needs(
    session: AsyncSession, area_id: UUID | None, status: NeedStatus | None, q: str | None, asked: PageRequest
) -> tuple[Sequence[Need], str | None]:
    """Needs, newest first; an area stands for its subtree."""
    query = select(Need)
    if area_id is not None:
        query = query.where(Need.area_path.contains([area_id]))
    if status is not None:
        query = query.where(Need.status == status)
    if q:
        query = query.where(matches(Need.search, q))
    return await newest_first(session, query, Need, asked)


def show_need(need: Need, principal: Principal | None) -> NeedView:
    """The need as this person may see it."""
    is_requester = principal is not None and principal.person_id == need.person_id
    return view_need(need, knows_requester=is_requester or coordinates(principal, need.area_path))


async def _undecided(session: AsyncSession, principal: Principal, need_id: UUID) -> Need:
    """The need, locked until this transaction has decided it."""
    need = await session.get(Need, need_id, with_for_update=True)
    if need is None:
        raise NotFound()
    await require_coordinator(session, principal, need.area_id)
    if need.status != "posted":
        raise NeedDecided()
    return need


def _decide(session: AsyncSession, need: Need, principal: Principal, status: NeedStatus) -> None:
    need.status = status
    need.decided_at = world_of(session).now()
    need.decided_by = principal.person_id
    need.version += 1
    note(session, principal.person_id, f"{status}_need", need.id)
