"""Routes of claims."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from pydantic import Field
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.api import Api, Arriving, Body, Db, Page, Paging, RequestLocale, Words, page
from chassis.arrivals import Arrivals
from chassis.auth import PUBLIC, SIGNED_IN, CurrentPrincipal, roles
from chassis.db import Database
from chassis.errors import Forbidden, NotArrived
from chassis.idempotency import Keyed
from chassis.tokens import Principal
from services.orders.claim_views import Claimant, ClaimView, claim_views, list_claims, read_claim, whole_view
from services.orders.claims import ClaimRequest
from services.orders.leases import complete_claim, release_claim, report_progress, sign_claim
from services.orders.models import ProductOffer
from services.orders.parts import CurrentParts
from services.orders.refusals import NotRegistered
from services.orders.registrations import is_registered

NOTE_MAX_CHARACTERS = 1000

api = Api("claims")


class NewClaim(Body):
    """Who takes the product on: the person who asks, or an organisation that they administer."""

    claimant: Claimant


class NewProgress(Body):
    """How far the project is."""

    percent: Annotated[int, Field(ge=0, le=100, strict=True)]
    note: Annotated[str, Words(NOTE_MAX_CHARACTERS)] | None = None


@api.post("/products/{product_id}/claims", policy=SIGNED_IN, status_code=201)
async def claim_product(
    product_id: UUID,
    body: NewClaim,
    principal: CurrentPrincipal,
    key: Keyed,
    db: Db,
    arriving: Arriving,
    parts: CurrentParts,
) -> ClaimView:
    """Take a product on. 409: `sold_out`, `already_claimed`, `not_open`, `claimant_not_allowed`, `not_registered`."""
    _require_may_claim(principal, body.claimant)
    request = ClaimRequest(product_id, body.claimant, principal.person_id, key)
    try:
        return await parts.claims.submit(request)
    except (NotArrived, NotRegistered):
        await _wait_until_known(db, arriving, product_id, body.claimant)
    return await parts.claims.submit(request)


@api.get("/products/{product_id}/claims", policy=PUBLIC)
async def list_claims_of_product(product_id: UUID, db: Db, paging: Paging, locale: RequestLocale) -> Page[ClaimView]:
    """Who took a product on, newest first."""
    return await _page_of_claims(db, paging, locale, product_id=product_id)


@api.get("/me/claims", policy=SIGNED_IN)
async def list_my_claims(db: Db, paging: Paging, principal: CurrentPrincipal, locale: RequestLocale) -> Page[ClaimView]:
    """The claims that I made, for myself or for my organisation, newest first."""
    return await _page_of_claims(db, paging, locale, person_id=principal.person_id)


@api.get("/claims/{claim_id}", policy=PUBLIC)
async def get_claim(claim_id: UUID, db: Db, locale: RequestLocale) -> ClaimView:
    """A claim with its progress and, once signed, the responsibility agreement."""
    async with db.transaction() as session:
        return await read_claim(session, claim_id, locale)


@api.post("/claims/{claim_id}/sign", policy=SIGNED_IN)
async def sign(claim_id: UUID, db: Db, principal: CurrentPrincipal, locale: RequestLocale) -> ClaimView:
    """Sign the responsibility agreement. 409: `claim_ended`."""
    async with db.transaction() as session:
        claim = await sign_claim(session, principal, claim_id)
        return await whole_view(session, claim, locale)


@api.post("/claims/{claim_id}/progress", policy=SIGNED_IN)
async def progress(
    claim_id: UUID, body: NewProgress, db: Db, principal: CurrentPrincipal, locale: RequestLocale
) -> ClaimView:
    """Report progress, which extends the lease. 409: `not_signed`, `claim_ended`."""
    async with db.transaction() as session:
        claim = await report_progress(session, principal, claim_id, body.percent, body.note)
        return await whole_view(session, claim, locale)


@api.post("/claims/{claim_id}/complete", policy=roles("coordinator", "operator"))
async def complete(claim_id: UUID, db: Db, principal: CurrentPrincipal, locale: RequestLocale) -> ClaimView:
    """Accept the completion, as the area's coordinator. 409: `not_signed`, `claim_ended`."""
    async with db.transaction() as session:
        claim = await complete_claim(session, principal, claim_id)
        return await whole_view(session, claim, locale)


@api.post("/claims/{claim_id}/release", policy=SIGNED_IN)
async def release(claim_id: UUID, db: Db, principal: CurrentPrincipal, locale: RequestLocale) -> ClaimView:
    """Give the place back. 409: `claim_ended` when it is completed."""
    async with db.transaction() as session:
        claim = await release_claim(session, principal, claim_id)
        return await whole_view(session, claim, locale)


def _require_may_claim(principal: Principal, claimant: Claimant) -> None:
    if claimant.type == "member":
        allowed = claimant.id == principal.person_id
    else:
        allowed = principal.has_for_organisation(claimant.id, "organisation_admin")
    if not allowed:
        raise Forbidden()


async def _wait_until_known(db: Database, arriving: Arrivals, product_id: UUID, claimant: Claimant) -> None:
    """Wait for what a claim is decided from; NotArrived without the product, NotRegistered without an area."""

    async def product_known(session: AsyncSession) -> UUID | None:
        return await session.scalar(select(ProductOffer.product_id).where(ProductOffer.product_id == product_id))

    async def all_known(session: AsyncSession) -> bool | None:
        if await product_known(session) is None:
            return None
        return claimant.type == "organisation" or await is_registered(session, claimant.id) or None

    try:
        await arriving.wait_for(all_known)
    except NotArrived:
        async with db.transaction() as session:
            if await product_known(session) is None:
                raise
        raise NotRegistered() from None


async def _page_of_claims(db: Database, paging: Paging, locale: RequestLocale, **of: Any) -> Page[ClaimView]:
    before = paging.after_id()
    async with db.transaction() as session:
        rows = await list_claims(session, before, paging.limit, **of)
        shown, cursor = page(rows, paging.limit, lambda claim: (claim.id,))
        return Page(items=await claim_views(session, shown, locale), next_cursor=cursor)
