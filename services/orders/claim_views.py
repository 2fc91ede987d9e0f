"""Claims as they are shown to everybody, and as facts tell of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Literal, cast
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import select, true
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from chassis.api import Body
from chassis.errors import NotFound
from chassis.i18n import DEFAULT_LOCALE, Locale
from contracts.orders import ClaimantType
from services.orders.models import Claim, ProgressUpdate

# Of one claim; a list shows the newest of each.
REPORTS_SHOWN = 20


class Claimant(Body):
    """Who takes a product on: a person in their own right, or an organisation."""

    type: ClaimantType
    id: UUID


class ProgressView(BaseModel):
    """What the claimant reported at one time."""

    percent: int
    note: str | None
    at: datetime


class ClaimView(BaseModel):
    """A claim as everybody may see it. `lease_until`: until when to sign or, once signed, to report progress.

    `progress`: the newest reports, in a list of claims only the last one of each.
    """

    id: UUID
    product_id: UUID
    area_id: UUID
    title: str
    claimant: Claimant
    status: Literal["accepted", "signed", "completed", "released"]
    lease_until: datetime
    signed_at: datetime | None
    percent: int
    progress: list[ProgressView]
    agreement: str | None
    created_at: datetime
    version: int


def about(claim: Claim) -> dict[str, Any]:
    """What every fact about the claim says."""
    return {
        "claim_id": claim.id,
        "product_id": claim.product_id,
        "area_id": claim.area_id,
        "title": claim.title,
        "claimant_type": claim.claimant_type,
        "claimant_id": claim.claimant_id,
        "person_id": claim.person_id,
    }


async def read_claim(session: AsyncSession, claim_id: UUID, locale: Locale) -> ClaimView:
    """The claim with its progress, and its agreement in the reader's language."""
    claim = await session.get(Claim, claim_id)
    if claim is None:
        raise NotFound()
    return await whole_view(session, claim, locale)


async def whole_view(session: AsyncSession, claim: Claim, locale: Locale) -> ClaimView:
    """The claim with its newest `REPORTS_SHOWN` progress reports."""
    return (await claim_views(session, [claim], locale, REPORTS_SHOWN))[0]


async def list_claims(
    session: AsyncSession,
    before: UUID | None,
    limit: int,
    *,
    person_id: UUID | None = None,
    product_id: UUID | None = None,
) -> Sequence[Claim]:
    """Claims that a person made, or of a product, newest first; one more than `limit` if there are."""
    found = select(Claim).order_by(Claim.id.desc()).limit(limit + 1)
    if person_id is not None:
        found = found.where(Claim.person_id == person_id)
    if product_id is not None:
        found = found.where(Claim.product_id == product_id)
    if before is not None:
        found = found.where(Claim.id < before)
    return (await session.scalars(found)).all()


async def claim_views(
    session: AsyncSession, claims: Sequence[Claim], locale: Locale, reports_shown: int = 1
) -> list[ClaimView]:
    """The claims with their newest progress reports, oldest of them first, read in one query for all."""
    update = ProgressUpdate
    newest = select(update).where(update.claim_id == Claim.id).order_by(update.id.desc()).limit(reports_shown).lateral()
    shown = aliased(update, newest)
    reports = select(shown).select_from(Claim).join(newest, true()).where(Claim.id.in_([claim.id for claim in claims]))
    by_claim: defaultdict[UUID, list[ProgressUpdate]] = defaultdict(list)
    for report in await session.scalars(reports.order_by(shown.id)):
        by_claim[report.claim_id].append(report)
    return [claim_view(claim, by_claim[claim.id], locale) for claim in claims]


def claim_view(claim: Claim, reports: Iterable[ProgressUpdate] = (), locale: Locale = DEFAULT_LOCALE) -> ClaimView:
    """The claim as everybody may see it."""
    return ClaimView(
        id=claim.id,
        product_id=claim.product_id,
        area_id=claim.area_id,
        title=claim.title,
        claimant=Claimant(type=cast(ClaimantType, claim.claimant_type), id=claim.claimant_id),
        status=cast(Any, claim.status),
        lease_until=claim.lease_until,
        signed_at=claim.signed_at,
        percent=claim.percent,
        progress=[ProgressView(percent=report.percent, note=report.note, at=report.at) for report in reports],
        agreement=claim.agreement[locale] if claim.agreement else None,
        created_at=claim.created_at,
        version=claim.version,
    )
