"""Claims (认领): a claimant takes on a product, as long as there are places. What becomes of a claim: `leases.py`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.db import Raced, world_of
from chassis.errors import NotFound, Refusal
from chassis.idempotency import IdempotencyKey, once_each
from chassis.outbox import emit
from chassis.telemetry import following
from contracts.orders import ClaimAccepted
from services.orders.claim_views import Claimant, ClaimView, about, claim_view
from services.orders.models import Claim, ProductOffer
from services.orders.offers import take_places
from services.orders.refusals import AlreadyClaimed, ClaimantNotAllowed, NotOpen, SoldOut

CLAIMANTS_OF = {"member": {"members", "both"}, "organisation": {"organisations", "both"}}


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
    wanted = {request.product_id for request in requests}
    locked = select(ProductOffer).where(ProductOffer.product_id.in_(wanted)).order_by(ProductOffer.product_id)
    offers = {offer.product_id: offer for offer in await session.scalars(locked.with_for_update())}

    async def decide(fresh: Sequence[ClaimRequest]) -> list[ClaimView | Refusal]:
        held = await _held(session, fresh)
        taken: Counter[UUID] = Counter()
        accepted: list[Claim] = []
        answers: list[ClaimView | Refusal] = []
        for request in fresh:
            offer = offers.get(request.product_id)
            refusal = _why_not(offer, request, held, taken)
            if offer is None or refusal is not None:
                answers.append(refusal or NotFound())
                continue
            held.add((request.product_id, request.claimant.id))
            taken[request.product_id] += 1
            claim = _new_claim(session, offer, request)
            accepted.append(claim)
            answers.append(claim_view(claim))
            with following(request.key.request_id):
                emit(session, ClaimAccepted(**about(claim), lease_until=claim.lease_until), sequence=claim.version)
        await _write(session, accepted)
        await take_places(session, taken)
        return answers

    return await once_each(session, requests, decide, ClaimView)


def _why_not(
    offer: ProductOffer | None, request: ClaimRequest, held: set[tuple[UUID, UUID]], taken: Counter[UUID]
) -> Refusal | None:
    if offer is None:
        return NotFound()
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
    pairs = {(request.product_id, request.claimant.id) for request in requests}
    found = await session.execute(
        select(Claim.product_id, Claim.claimant_id).where(
            tuple_(Claim.product_id, Claim.claimant_id).in_(pairs), Claim.status != "released"
        )
    )
    return {(row.product_id, row.claimant_id) for row in found}


def _new_claim(session: AsyncSession, offer: ProductOffer, request: ClaimRequest) -> Claim:
    world = world_of(session)
    now = world.now()
    return Claim(
        id=world.new_id(),
        product_id=offer.product_id,
        area_id=offer.area_id,
        title=offer.title,
        claimant_type=request.claimant.type,
        claimant_id=request.claimant.id,
        person_id=request.person_id,
        status="accepted",
        lease_until=now + timedelta(hours=offer.lease_hours),
        percent=0,
        created_at=now,
        version=1,
    )


async def _write(session: AsyncSession, claims: Sequence[Claim]) -> None:
    """Insert all claims in one statement; Raced, should a claimant hold a place after all."""
    if not claims:
        return
    rows = [{column.name: getattr(claim, column.name) for column in Claim.__table__.columns} for claim in claims]
    statement = insert(Claim).on_conflict_do_nothing().returning(Claim.id)
    if len((await session.scalars(statement, rows)).all()) != len(rows):
        raise Raced
