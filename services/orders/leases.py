"""What becomes of a claim: signed, progressed, completed, or released; a claim is a lease that runs out by itself.

Who gives places back locks the product first and the claim then, as `accept_claims` does.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, and_, select
from sqlalchemy.ext.asyncio import AsyncSession

from chassis import scopes
from chassis.audit import note
from chassis.db import Database, world_of
from chassis.errors import Forbidden, NotFound
from chassis.i18n import LOCALES, catalogue
from chassis.outbox import emit
from chassis.tokens import Principal
from contracts.orders import ClaimCompleted, ClaimProgressed, ClaimReleased, ClaimSigned
from services.orders.claim_views import about
from services.orders.models import Claim, ProductOffer, ProgressUpdate
from services.orders.offers import give_back_places
from services.orders.refusals import ClaimEnded, NotSigned

# Between two reports of a signed claim's progress.
PROGRESS_LEASE_DAYS = 30
EXPIRED_BATCH_MAX = 200
OVERSEERS = ("coordinator", "operator")


async def sign_claim(session: AsyncSession, principal: Principal, claim_id: UUID) -> Claim:
    """Sign the responsibility agreement, whose text is kept and public; from now on the claim is to progress."""
    claim = await _locked(session, claim_id)
    _require_claimant(principal, claim)
    if claim.status == "signed":
        return claim
    _require_running(session, claim)
    claim.status = "signed"
    claim.signed_at = world_of(session).now()
    claim.agreement = _agreement(claim)
    _extend(session, claim)
    emit(session, ClaimSigned(**about(claim)), sequence=claim.version)
    return claim


async def report_progress(
    session: AsyncSession, principal: Principal, claim_id: UUID, percent: int, note: str | None
) -> Claim:
    """Note how far a signed claim is, which extends its lease."""
    claim = await _locked(session, claim_id)
    _require_claimant(principal, claim)
    _require_running(session, claim)
    if claim.status != "signed":
        raise NotSigned()
    world = world_of(session)
    session.add(ProgressUpdate(id=world.new_id(), claim_id=claim.id, percent=percent, note=note, at=world.now()))
    claim.percent = percent
    _extend(session, claim)
    emit(session, ClaimProgressed(**about(claim), percent=percent), sequence=claim.version)
    return claim


async def complete_claim(session: AsyncSession, principal: Principal, claim_id: UUID) -> Claim:
    """The area's coordinator accepts the completion; the claim keeps its place."""
    claim = await _locked(session, claim_id)
    await scopes.require(session, principal, claim.area_id, *OVERSEERS)
    if claim.status == "completed":
        return claim
    if claim.status == "released":
        raise ClaimEnded()
    if claim.status != "signed":
        raise NotSigned()
    claim.status = "completed"
    claim.percent = 100
    claim.version += 1
    emit(session, ClaimCompleted(**about(claim)), sequence=claim.version)
    note(session, principal.person_id, "complete_claim", claim.id)
    return claim


async def release_claim(session: AsyncSession, principal: Principal, claim_id: UUID) -> Claim:
    """Give the claim's place back, at the wish of the claimant or of the area's coordinator."""
    product_id = await session.scalar(select(Claim.product_id).where(Claim.id == claim_id))
    await session.execute(
        select(ProductOffer.product_id).where(ProductOffer.product_id == product_id).with_for_update()
    )
    claim = await _locked(session, claim_id)
    if not may_act_for(principal, claim):
        await scopes.require(session, principal, claim.area_id, *OVERSEERS)
    if claim.status == "completed":
        raise ClaimEnded()
    if claim.status != "released":
        _release(session, claim, "released")
        await give_back_places(session, {claim.product_id: 1})
        if claim.person_id != principal.person_id:
            note(session, principal.person_id, "release_claim", claim.id)
    return claim


async def release_claims_of(session: AsyncSession, person_id: UUID) -> None:
    """Give back every place that a person holds for themselves and has not completed."""
    running = and_(Claim.claimant_id == person_id, Claim.status.in_(("accepted", "signed")))
    offer_id = ProductOffer.product_id
    offers = select(offer_id).where(offer_id.in_(select(Claim.product_id).where(running))).order_by(offer_id)
    locked = (await session.scalars(offers.with_for_update())).all()
    held = select(Claim).where(running, Claim.product_id.in_(locked)).order_by(Claim.id).with_for_update()
    claims = (await session.scalars(held.execution_options(populate_existing=True))).all()
    for claim in claims:
        _release(session, claim, "released")
    await give_back_places(session, Counter(claim.product_id for claim in claims))


async def release_expired(db: Database) -> None:
    """Release every claim whose lease has run out; safe to do twice at once."""
    released = 1
    while released:
        async with db.transaction() as session:
            released = await _release_expired_batch(session)


async def _release_expired_batch(session: AsyncSession) -> int:
    expired = _expired(session)
    overdue = select(Claim.product_id).where(expired).order_by(Claim.lease_until).limit(EXPIRED_BATCH_MAX)
    offer_id = ProductOffer.product_id
    offers = select(offer_id).where(offer_id.in_(overdue)).order_by(offer_id).with_for_update(skip_locked=True)
    locked = (await session.scalars(offers)).all()
    claims = select(Claim).where(Claim.product_id.in_(locked), expired).order_by(Claim.lease_until)
    batch = (await session.scalars(claims.limit(EXPIRED_BATCH_MAX).with_for_update(skip_locked=True))).all()
    for claim in batch:
        _release(session, claim, "lease_expired")
    await give_back_places(session, Counter(claim.product_id for claim in batch))
    return len(batch)


def _expired(session: AsyncSession) -> ColumnElement[bool]:
    return and_(Claim.status.in_(("accepted", "signed")), Claim.lease_until <= world_of(session).now())


def _release(session: AsyncSession, claim: Claim, reason: str) -> None:
    claim.status = "released"
    claim.version += 1
    emit(session, ClaimReleased.model_validate({**about(claim), "reason": reason}), sequence=claim.version)


def _extend(session: AsyncSession, claim: Claim) -> None:
    claim.lease_until = world_of(session).now() + timedelta(days=PROGRESS_LEASE_DAYS)
    claim.version += 1


def _agreement(claim: Claim) -> dict[str, str]:
    """The agreement's text in both languages."""
    signed_at = claim.signed_at.isoformat(timespec="minutes") if claim.signed_at else ""
    terms = {"title": claim.title, "claim_id": claim.id, "signed_at": signed_at, "days": PROGRESS_LEASE_DAYS}
    return {locale: catalogue("services.orders", locale)["agreement"].format_map(terms) for locale in LOCALES}


def may_act_for(principal: Principal, claim: Claim) -> bool:
    """Whether this person is the claimant, or an administrator of the claiming organisation."""
    if claim.claimant_type == "member":
        return principal.person_id == claim.claimant_id
    return principal.has_for_organisation(claim.claimant_id, "organisation_admin")


def _require_claimant(principal: Principal, claim: Claim) -> None:
    if not may_act_for(principal, claim):
        raise Forbidden()


def _require_running(session: AsyncSession, claim: Claim) -> None:
    if claim.status not in {"accepted", "signed"} or claim.lease_until <= world_of(session).now():
        raise ClaimEnded()


async def _locked(session: AsyncSession, claim_id: UUID) -> Claim:
    claim = await session.scalar(select(Claim).where(Claim.id == claim_id).with_for_update())
    if claim is None:
        raise NotFound()
    return claim
