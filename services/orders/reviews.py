"""Reviews (群众点评): stars and words by those who were served and by residents of the area, afterwards, once each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from sqlalchemy import ColumnElement, Uuid, any_, exists, func, literal, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.db import world_of
from chassis.errors import NotFound
from chassis.outbox import emit
from chassis.scopes import path_of
from chassis.tables import scopes
from chassis.tokens import Principal
from contracts.orders import ClaimantType, ReviewPosted
from services.orders.models import Claim, Membership, Registration, SessionOffer
from services.orders.models.attendance import Attendance
from services.orders.models.reviews import Review
from services.orders.refusals import AlreadyReviewed, NotCompleted, NotEntitled

SubjectType = Literal["claim", "session"]


@dataclass(frozen=True, slots=True)
class Reviewed:
    """What a review is about, and who did it, if that is one claimant."""

    type: SubjectType
    id: UUID
    product_id: UUID
    area_id: UUID
    title: str
    claimant: tuple[ClaimantType, UUID] | None


async def post_review(
    session: AsyncSession, author: Principal, subject_type: SubjectType, subject_id: UUID, stars: int, words: str
) -> Review:
    """Say once, in public, how a completed claim or a session was; nobody reviews what they did themselves."""
    find = _completed_claim if subject_type == "claim" else _session
    reviewed = await find(session, subject_id, author)
    world = world_of(session)
    review = {
        "id": world.new_id(),
        "subject_type": reviewed.type,
        "subject_id": reviewed.id,
        "product_id": reviewed.product_id,
        "author_id": author.person_id,
        "stars": stars,
        "text": words,
        "created_at": world.now(),
    }
    statement = insert(Review).values(review).on_conflict_do_nothing().returning(Review)
    posted: Review | None = await session.scalar(statement)
    if posted is None:
        raise AlreadyReviewed()
    _tell(session, posted, reviewed)
    return posted


def _tell(session: AsyncSession, review: Review, reviewed: Reviewed) -> None:
    claimant_type, claimant_id = reviewed.claimant or (None, None)
    fact = ReviewPosted(
        review_id=review.id,
        subject_type=reviewed.type,
        subject_id=reviewed.id,
        product_id=reviewed.product_id,
        area_id=reviewed.area_id,
        title=reviewed.title,
        person_id=review.author_id,
        stars=review.stars,
        claimant_type=claimant_type,
        claimant_id=claimant_id,
    )
    emit(session, fact, sequence=1)


async def list_reviews(session: AsyncSession, product_id: UUID, before: UUID | None, limit: int) -> Sequence[Review]:
    """A product's reviews, newest first, one more than `limit` if there are."""
    found = select(Review).where(Review.product_id == product_id).order_by(Review.id.desc()).limit(limit + 1)
    if before is not None:
        found = found.where(Review.id < before)
    return (await session.scalars(found)).all()


async def stars_of(session: AsyncSession, product_id: UUID) -> tuple[float | None, int]:
    """The average of a product's stars, in hundredths, and the number of its reviews."""
    summary = select(func.round(func.avg(Review.stars), 2), func.count()).where(Review.product_id == product_id)
    average, count = (await session.execute(summary)).one()
    return (None if average is None else float(average)), count


async def _completed_claim(session: AsyncSession, claim_id: UUID, author: Principal) -> Reviewed:
    claim = await session.get(Claim, claim_id)
    if claim is None:
        raise NotFound()
    if await _did(session, author, Claim.id == claim_id):
        raise NotEntitled()
    if claim.status != "completed":
        raise NotCompleted()
    served = (Attendance.product_id == claim.product_id) & Attendance.booking_id.is_not(None)
    if not await _attended(session, author.person_id, served):
        await _require_neighbour(session, author.person_id, claim.area_id)
    return Reviewed("claim", claim.id, claim.product_id, claim.area_id, claim.title, _claimant_of(claim))


async def _session(session: AsyncSession, session_id: UUID, author: Principal) -> Reviewed:
    """The session, for who came to it at once, for the area's residents once it is over."""
    offer = await session.get(SessionOffer, session_id)
    if offer is None:
        raise NotFound()
    standing = (Claim.product_id == offer.product_id) & (Claim.status != "released")
    if await _did(session, author, standing):
        raise NotEntitled()
    if not await _attended(session, author.person_id, Attendance.session_id == session_id):
        await _require_neighbour(session, author.person_id, offer.area_id)
        if offer.status == "cancelled" or world_of(session).now() < offer.ends_at:
            raise NotCompleted()
    claims = (await session.scalars(select(Claim).where(standing).limit(2))).all()
    claimant = _claimant_of(claims[0]) if len(claims) == 1 else None
    return Reviewed("session", offer.session_id, offer.product_id, offer.area_id, offer.title, claimant)


async def _attended(session: AsyncSession, person_id: UUID, what: ColumnElement[bool]) -> bool:
    there = select(Attendance.id).where(what, Attendance.person_id == person_id, Attendance.status != "voided")
    return (await session.scalars(there.limit(1))).first() is not None


async def _did(session: AsyncSession, author: Principal, claims: ColumnElement[bool]) -> bool:
    """Whether the author made one of these claims, worked for it, or belongs to the organisation whose claim it is."""
    me = author.person_id
    administered = [grant.organisation_id for grant in author.grants if grant.organisation_id]
    memberships = select(Membership.organisation_id).where(Membership.person_id == me)
    worked = exists().where(Attendance.claim_id == Claim.id, Attendance.person_id == me, Attendance.status != "voided")
    own = or_(
        Claim.person_id == me,
        Claim.claimant_id == me,
        Claim.claimant_id.in_(administered),
        Claim.claimant_id.in_(memberships),
        worked,
    )
    return (await session.scalars(select(Claim.id).where(claims, own).limit(1))).first() is not None


async def _require_neighbour(session: AsyncSession, person_id: UUID, area_id: UUID) -> None:
    """Raise NotEntitled unless the person is registered with the area, one around it or one within it."""
    path = await path_of(session, area_id)
    registered = (
        select(Registration.registration_id)
        .join(scopes, scopes.c.id == Registration.area_id, isouter=True)
        .where(
            Registration.person_id == person_id,
            Registration.subject == "person",
            Registration.status == "active",
            or_(Registration.area_id.in_(path), literal(area_id, Uuid) == any_(scopes.c.path)),
        )
    )
    if (await session.scalars(registered.limit(1))).first() is None:
        raise NotEntitled()


def _claimant_of(claim: Claim) -> tuple[ClaimantType, UUID]:
    return ("organisation" if claim.claimant_type == "organisation" else "member"), claim.claimant_id
