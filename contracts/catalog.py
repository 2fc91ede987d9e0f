"""Facts that catalog tells: needs, products, sessions, rewards."""

from __future__ import annotations

from typing import ClassVar, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict

from contracts.event import Event

ProductKind = Literal["activity", "project", "wish", "post", "venue", "course"]
ClaimPolicy = Literal["first_come", "none"]
Claimants = Literal["organisations", "members", "both"]
Confirmation = Literal["automatic", "coordinator"]


class NeedPostedV1(Event, type="linli.catalog.need_posted.v1", key="need_id"):
    """A resident said what is needed, in these words."""

    own_words: ClassVar[frozenset[str]] = frozenset({"title"})

    need_id: UUID
    area_id: UUID
    category_id: UUID | None
    person_id: UUID
    title: str


class NeedPosted(Event, type="linli.catalog.need_posted.v2", key="need_id"):
    """A resident said what is needed."""

    need_id: UUID
    area_id: UUID
    category_id: UUID | None
    person_id: UUID


class NeedAccepted(Event, type="linli.catalog.need_accepted.v1", key="need_id"):
    """A coordinator turned the need into a product."""

    own_words: ClassVar[frozenset[str]] = frozenset({"title"})

    need_id: UUID
    area_id: UUID
    person_id: UUID
    title: str
    product_id: UUID


class NeedDeclined(Event, type="linli.catalog.need_declined.v1", key="need_id"):
    """A coordinator declined the need; the reason is public."""

    own_words: ClassVar[frozenset[str]] = frozenset({"title", "reason"})

    need_id: UUID
    area_id: UUID
    person_id: UUID
    title: str
    reason: str


class NeedFulfilled(Event, type="linli.catalog.need_fulfilled.v1", key="need_id"):
    """The product made from the need was completed."""

    own_words: ClassVar[frozenset[str]] = frozenset({"title"})

    need_id: UUID
    area_id: UUID
    person_id: UUID
    title: str
    product_id: UUID


class ProductTerms(Event):
    """What orders has to know of a product to decide a claim; totals are absolute."""

    product_id: UUID
    area_id: UUID
    category_id: UUID | None
    kind: ProductKind
    title: str
    organisation_id: UUID | None
    claim_policy: ClaimPolicy
    claimants: Claimants
    claim_capacity: int
    lease_hours: int


class ProductPublished(ProductTerms, type="linli.catalog.product_published.v1", key="product_id"):
    """A product can be claimed or booked from now on."""


class ProductChanged(ProductTerms, type="linli.catalog.product_changed.v1", key="product_id"):
    """A published product has other terms."""


class ProductWithdrawn(Event, type="linli.catalog.product_withdrawn.v1", key="product_id"):
    """A product takes no more claims or bookings; what was promised stands."""

    product_id: UUID
    area_id: UUID
    title: str


class SessionTerms(Event):
    """What orders has to know of a session to decide a booking; `capacity` is absolute."""

    session_id: UUID
    product_id: UUID
    area_id: UUID
    title: str
    starts_at: AwareDatetime
    ends_at: AwareDatetime
    book_until: AwareDatetime
    venue: str
    capacity: int
    confirmation: Confirmation


class SessionScheduled(SessionTerms, type="linli.catalog.session_scheduled.v1", key="session_id"):
    """Places in a product's session can be booked."""


class SessionChanged(SessionTerms, type="linli.catalog.session_changed.v1", key="session_id"):
    """A session has another time, place or capacity."""


class SessionCancelled(Event, type="linli.catalog.session_cancelled.v1", key="session_id"):
    """A session does not take place; its bookings are cancelled."""

    session_id: UUID
    product_id: UUID
    area_id: UUID
    title: str
    reason: str


class CentreStock(BaseModel):
    """Pieces of a reward that one centre has in all, those already promised included."""

    model_config = ConfigDict(frozen=True)

    centre_id: UUID
    total: int


class RewardPublished(Event, type="linli.catalog.reward_published.v1", key="reward_id"):
    """A reward of the points shop, its price in points for one piece, and its stock by centre."""

    reward_id: UUID
    area_id: UUID
    title: str
    cost_points: int
    stock: list[CentreStock]
