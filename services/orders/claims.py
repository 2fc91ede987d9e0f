"""Claims (认领): a claimant takes on a product, as long as there are places. What becomes of a claim: `leases.py`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from operator import itemgetter
from types import SimpleNamespace
from typing import cast
from uuid import UUID

from sqlalchemy import literal_column, select
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.arrays import among, arrays, insert_arrays, wanted
from chassis.db import Raced, world_of
from chassis.errors import NotArrived, Refusal
from chassis.idempotency import IdempotencyKey, once_each
from chassis.outbox import emit
from chassis.telemetry import following
from contracts.orders import ClaimAccepted
from services.orders.claim_views import Claimant, ClaimView, about, claim_view
from services.orders.models import Claim, ProductOffer
from services.orders.offers import take_places
from services.orders.refusals import AlreadyClaimed, ClaimantNotAllowed, NotOpen, NotRegistered, SoldOut
from services.orders.registrations import registered_among

CLAIMANTS_OF = {"member": {"members", "both"}, "organisation": {"organisations", "both"}}
_COLUMNS = tuple(column.name for column in Claim.__table__.columns)
_LOCKED = (
    select(ProductOffer)
    .where(among(ProductOffer.product_id, "products"))
    .order_by(ProductOffer.product_id)
    .with_for_update()
)
_asked = wanted(product_id=Claim.product_id, claimant_id=Claim.claimant_id)
# The status as it stands in the index's condition: by a parameter, a generic plan could not use the index.
_HELD = (
    select(Claim.product_id, Claim.claimant_id)
    .join_from(Claim, _asked, (Claim.product_id == _asked.c.product_id) & (Claim.claimant_id == _asked.c.claimant_id))
    .where(Claim.status != literal_column("'released'"))
)
_INSERT = insert_arrays(Claim, _COLUMNS).on_conflict_do_nothing().returning(Claim.id)


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """One claimant's wish to take a product on, spoken by a person who may."""

    product_id: UUID
    claimant: Claimant
    person_id: UUID
    key: IdempotencyKey


async def accept_claims(session: AsyncSession, requests: Sequence[ClaimRequest]) -> list[ClaimView | Refusal]:
    """Take a place for each request in order of arrival; AlreadyClaimed, SoldOut, … for the rest.

    The products' rows are locked first, so what is counted here is what holds when it commits.
    """
    products = {request.product_id for request in requests}
    offers = {offer.product_id: offer for offer in await session.scalars(_LOCKED, {"products": list(products)})}

    async def decide(fresh: Sequence[ClaimRequest]) -> list[ClaimView | Refusal]:
        held = await _held(session, fresh)
        registered = await registered_among(session, {r.claimant.id for r in fresh if r.claimant.type == "member"})
        taken: Counter[UUID] = Counter()
        accepted: list[Claim] = []
        answers: list[ClaimView | Refusal] = []
        for request in fresh:
            offer = offers.get(request.product_id)
            if offer is None:
                answers.append(NotArrived())
                continue
            known = request.claimant.type == "organisation" or request.claimant.id in registered
            refusal = _why_not(offer, request, held, taken) if known else NotRegistered()
            if refusal is not None:
                answers.append(refusal)
                continue
            held.add((request.product_id, request.claimant.id))
            taken[request.product_id] += 1
            claim = _new_claim(session, offer, request)
            accepted.append(claim)
            answers.append(claim_view(claim))
            with following(request.key.origin):
                emit(session, ClaimAccepted(**about(claim), lease_until=claim.lease_until), sequence=claim.version)
        await _write(session, accepted)
        await take_places(session, taken)
        return answers

    return await once_each(session, requests, decide, ClaimView)


def _why_not(
    offer: ProductOffer, request: ClaimRequest, held: set[tuple[UUID, UUID]], taken: Counter[UUID]
) -> Refusal | None:
    if not offer.open or offer.claim_policy == "none":
        return NotOpen()
    if offer.claimants not in CLAIMANTS_OF[request.claimant.type]:
        return ClaimantNotAllowed()
    if (offer.product_id, request.claimant.id) in held:
        return AlreadyClaimed()
    if offer.claim_taken + taken[offer.product_id] >= offer.claim_limit:
        return SoldOut()
    return None


async def _held(session: AsyncSession, requests: Sequence[ClaimRequest]) -> set[tuple[UUID, UUID]]:
    """Product and claimant of each request whose claimant holds a place already."""
    found = await session.execute(
        _HELD,
        {
            "product_id": [request.product_id for request in requests],
            "claimant_id": [request.claimant.id for request in requests],
        },
    )
    return {(row.product_id, row.claimant_id) for row in found}


def _new_claim(session: AsyncSession, offer: ProductOffer, request: ClaimRequest) -> Claim:
    """A plain object with a claim's columns: one that the ORM watched would cost several times as much."""
    world = world_of(session)
    now = world.now()
    columns = SimpleNamespace(
        id=world.new_id(),
        product_id=offer.product_id,
        area_id=offer.area_id,
        title=offer.title,
        claimant_type=request.claimant.type,
        claimant_id=request.claimant.id,
        person_id=request.person_id,
        status="accepted",
        lease_until=now + timedelta(hours=offer.lease_hours),
        signed_at=None,
        agreement=None,
        percent=0,
        created_at=now,
        version=1,
    )
    return cast(Claim, columns)


async def _write(session: AsyncSession, claims: Sequence[Claim]) -> None:
    """Insert all claims in one statement; Raced, should a claimant hold a place after all."""
    if not claims:
        return
    rows = arrays(_COLUMNS, [itemgetter(*_COLUMNS)(vars(claim)) for claim in claims])
    if len((await session.scalars(_INSERT, rows)).all()) != len(claims):
        raise Raced
