"""What clients are answered."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from contracts.catalog import CentreStock, Claimants, ClaimPolicy, Confirmation, ProductKind
from services.catalog.models import (
    Category,
    Need,
    NeedKind,
    NeedSection,
    NeedStatus,
    ProductStatus,
    ProductTier,
    Reward,
    ScheduledSession,
    SessionStatus,
)


class CategoryView(BaseModel):
    """A category in both languages."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    scheme: str
    key: str
    name: str
    name_en: str
    area_id: UUID


class NeedStep(BaseModel):
    """Since when the need has had this status."""

    status: NeedStatus
    at: datetime


class NeedView(BaseModel):
    """`requester_id` and `place` are for the requester and the area's coordinators only, null for everybody else."""

    id: UUID
    area_id: UUID
    category_id: UUID | None
    requester_id: UUID | None
    title: str
    body: str
    place: str | None
    section: NeedSection
    kind: NeedKind
    status: NeedStatus
    product_id: UUID | None
    reason: str | None
    posted_at: datetime
    track: list[NeedStep]
    version: int


class ClaimingOrganisation(BaseModel):
    """An organisation whose claim stands."""

    organisation_id: UUID
    name: str


class ProductView(BaseModel):
    """`claimed_by` names the first organisations that claimed it; `stars_average` is null before the first review."""

    id: UUID
    area_id: UUID
    category_id: UUID | None
    kind: ProductKind
    title: str
    title_en: str | None
    summary: str
    status: ProductStatus
    tier: ProductTier | None
    claim_policy: ClaimPolicy
    claimants: Claimants
    claim_capacity: int
    claims_active: int
    claims_completed: int
    lease_hours: int
    organisation_id: UUID | None
    organisation_name: str | None
    claimed_by: list[ClaimingOrganisation]
    stars_average: float | None
    reviews: int
    participants: int
    need_id: UUID | None
    published_at: datetime | None
    version: int


class AcceptedNeedView(BaseModel):
    """The need and what was made from it."""

    need: NeedView
    product: ProductView


class SessionView(BaseModel):
    """`reason` says why a cancelled session does not take place."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    product_id: UUID
    area_id: UUID
    title: str
    starts_at: datetime
    ends_at: datetime
    book_until: datetime
    venue: str
    capacity: int
    seats_taken: int
    status: SessionStatus
    reason: str | None
    confirmation: Confirmation
    version: int


class RewardView(BaseModel):
    """`stock` counts pieces in all, those already promised included."""

    id: UUID
    area_id: UUID
    title: str
    title_en: str | None
    cost_points: int
    stock: list[CentreStock]
    status: Literal["published"]
    version: int


def view_category(category: Category) -> CategoryView:
    return CategoryView.model_validate(category)


def view_need(need: Need, *, knows_requester: bool) -> NeedView:
    """The need as somebody sees it who may, or may not, know who asked and where they are."""
    return NeedView(
        id=need.id,
        area_id=need.area_id,
        category_id=need.category_id,
        requester_id=need.person_id if knows_requester else None,
        title=need.title,
        body=need.body,
        place=need.place if knows_requester else None,
        section=need.section,
        kind=need.kind,
        status=need.status,
        product_id=need.product_id,
        reason=need.reason,
        posted_at=need.posted_at,
        track=_track(need),
        version=need.version,
    )


def _track(need: Need) -> list[NeedStep]:
    steps = [NeedStep(status="posted", at=need.posted_at)]
    if need.decided_at is not None:
        steps.append(NeedStep(status="accepted" if need.product_id else "declined", at=need.decided_at))
    if need.fulfilled_at is not None:
        steps.append(NeedStep(status="fulfilled", at=need.fulfilled_at))
    return steps


def view_session(scheduled: ScheduledSession) -> SessionView:
    return SessionView.model_validate(scheduled)


def view_reward(reward: Reward, stock: Sequence[CentreStock]) -> RewardView:
    return RewardView(
        id=reward.id,
        area_id=reward.area_id,
        title=reward.title,
        title_en=reward.title_en,
        cost_points=reward.cost_points,
        stock=list(stock),
        status="published",
        version=reward.version,
    )
