"""What clients send."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, Field
from pydantic_core import PydanticCustomError

from chassis.api import INTEGER_MAX, Body, Words
from contracts.catalog import Claimants, ClaimPolicy, Confirmation, ProductKind
from services.catalog.models import NeedKind, NeedSection, ProductTier

CAPACITY_MAX = 100_000
LEASE_MAX_H = 8_760
COST_MAX_POINTS = 1_000_000
CENTRES_MAX = 50


Name = Annotated[str, Words(100)]
NameEn = Annotated[str, Words(200)]
LongText = Annotated[str, Words(2_000)]
Place = Annotated[str, Words(200)]
Reason = Annotated[str, Words(500)]
Capacity = Annotated[int, Field(ge=1, le=CAPACITY_MAX)]
LeaseHours = Annotated[int, Field(ge=1, le=LEASE_MAX_H)]
CostPoints = Annotated[int, Field(ge=1, le=COST_MAX_POINTS)]


def _in_utc(time: datetime) -> datetime:
    return time.astimezone(UTC)


Time = Annotated[
    AwareDatetime,
    Field(ge=datetime(2000, 1, 1, tzinfo=UTC), lt=datetime(2100, 1, 1, tzinfo=UTC)),
    AfterValidator(_in_utc),
]


class NewCategory(Body):
    """A category for an area's scheme."""

    area_id: UUID
    scheme: Name
    key: Name
    name: Name
    name_en: NameEn


class NewNeed(Body):
    """What is needed, and where."""

    area_id: UUID
    category_id: UUID | None = None
    title: Name
    body: LongText
    section: NeedSection = "ask_help"
    kind: NeedKind = "need"
    place: Place | None = None


class OfferTerms(Body):
    """What is offered, and who may claim it on which terms."""

    category_id: UUID | None = None
    kind: ProductKind
    title: Name
    title_en: NameEn | None = None
    summary: LongText
    claimants: Claimants = "both"
    claim_policy: ClaimPolicy = "first_come"
    claim_capacity: Capacity = 1
    lease_hours: LeaseHours = 72
    tier: ProductTier | None = None


class NewProduct(OfferTerms):
    """A product of an area, perhaps offered by an organisation."""

    area_id: UUID
    organisation_id: UUID | None = None
    publish: bool = False


class ProductOfNeed(OfferTerms):
    """The product that a need is accepted as; its area, and where nothing else is said its category, are the need's."""

    publish: bool = True


class NeedAcceptance(Body):
    """The product to make from the need."""

    product: ProductOfNeed


class NeedDecline(Body):
    """Why not; everybody can read it."""

    reason: Reason


class ProductChanges(Body):
    """What is left out, or null, stays as it is."""

    category_id: UUID | None = None
    kind: ProductKind | None = None
    title: Name | None = None
    title_en: NameEn | None = None
    summary: LongText | None = None
    claimants: Claimants | None = None
    claim_policy: ClaimPolicy | None = None
    claim_capacity: Capacity | None = None
    lease_hours: LeaseHours | None = None
    tier: ProductTier | None = None


class NewSession(Body):
    """A date of a product; booking ends at the start where nothing else is said."""

    starts_at: Time
    ends_at: Time
    book_until: Time | None = None
    venue: Place
    capacity: Capacity
    confirmation: Confirmation = "automatic"


class SessionChanges(Body):
    """What is left out, or null, stays as it is; booking up to the start follows the start."""

    starts_at: Time | None = None
    ends_at: Time | None = None
    book_until: Time | None = None
    venue: Place | None = None
    capacity: Capacity | None = None
    confirmation: Confirmation | None = None


class SessionCancellation(Body):
    """Why the session does not take place; everybody can read it."""

    reason: Reason


class RewardStockItem(Body):
    """Pieces that one centre has in all, those already promised included."""

    centre_id: UUID
    total: Annotated[int, Field(ge=0, le=INTEGER_MAX)]


def _each_centre_once(stock: list[RewardStockItem]) -> list[RewardStockItem]:
    if len({item.centre_id for item in stock}) < len(stock):
        raise PydanticCustomError("distinct", "each centre once")
    return stock


Stock = Annotated[list[RewardStockItem], Field(min_length=1, max_length=CENTRES_MAX), AfterValidator(_each_centre_once)]


class NewReward(Body):
    """A reward, its price for one piece, and where there are how many."""

    area_id: UUID
    title: Name
    title_en: NameEn | None = None
    cost_points: CostPoints
    stock: Stock


class RewardChanges(Body):
    """What is left out, or null, stays as it is; a centre that `stock` leaves out has none from now on."""

    title: Name | None = None
    title_en: NameEn | None = None
    cost_points: CostPoints | None = None
    stock: Stock | None = None
