"""The tables of the catalogue's own things. Its copies of what others told stand in `copies`.

`version` counts what was told or edited about a thing: it is the `sequence` of its facts and its ETag. Counters follow
from the copies and are not part of a version. `area_path` runs from the root to the area, so that a subtree is one
index look-up.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, get_args
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, Text, UniqueConstraint, Uuid, text
from sqlalchemy.dialects.postgresql import ARRAY, TSVECTOR
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from chassis.tables import service_metadata, timestamp
from contracts.catalog import Claimants, ClaimPolicy, Confirmation, ProductKind

NeedSection = Literal["everyone_helps", "i_help", "ask_help"]
NeedKind = Literal["need", "micro_wish"]
NeedStatus = Literal["posted", "accepted", "declined", "fulfilled"]
ProductStatus = Literal["draft", "published", "withdrawn", "completed"]
ProductTier = Literal["A", "B", "C"]
SessionStatus = Literal["scheduled", "cancelled"]


def one_of(column: str, words: Any) -> CheckConstraint:
    """The database takes no other word than the type's."""
    return CheckConstraint(f"{column} IN ({', '.join(repr(word) for word in get_args(words))})", name=column)


class Base(DeclarativeBase):
    """Declares the catalogue's tables beside those of the chassis."""

    metadata = service_metadata()


class Category(Base):
    """One category of a scheme that an area keeps."""

    __tablename__ = "categories"
    __table_args__ = (
        UniqueConstraint("scheme", "key", "area_id"),
        Index("ix_categories_area_path", "area_path", postgresql_using="gin"),
        Index("ix_categories_area_id", "area_id"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    area_id: Mapped[UUID] = mapped_column(Uuid)
    area_path: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid))
    scheme: Mapped[str] = mapped_column(Text)
    key: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    name_en: Mapped[str] = mapped_column(Text)


class Need(Base):
    """What somebody needs, and what became of it. A declined need has a reason, an accepted one a product."""

    __tablename__ = "needs"
    __table_args__ = (
        one_of("section", NeedSection),
        one_of("kind", NeedKind),
        one_of("status", NeedStatus),
        CheckConstraint("(status = 'posted') = (decided_at IS NULL)", name="decided"),
        CheckConstraint("(status = 'declined') = (reason IS NOT NULL)", name="reason"),
        CheckConstraint("(status IN ('accepted', 'fulfilled')) = (product_id IS NOT NULL)", name="product"),
        CheckConstraint("(status = 'fulfilled') = (fulfilled_at IS NOT NULL)", name="fulfilled"),
        Index("ix_needs_status_id", "status", "id"),
        Index("ix_needs_product_id", "product_id"),
        Index("ix_needs_area_path", "area_path", postgresql_using="gin"),
        Index("ix_needs_search", "search", postgresql_using="gin"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    area_id: Mapped[UUID] = mapped_column(Uuid)
    area_path: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid))
    category_id: Mapped[UUID | None] = mapped_column(ForeignKey("categories.id"))
    person_id: Mapped[UUID] = mapped_column(Uuid)
    title: Mapped[str] = mapped_column(Text)
    body: Mapped[str] = mapped_column(Text)
    place: Mapped[str | None] = mapped_column(Text)
    section: Mapped[NeedSection] = mapped_column(Text)
    kind: Mapped[NeedKind] = mapped_column(Text)
    status: Mapped[NeedStatus] = mapped_column(Text)
    product_id: Mapped[UUID | None] = mapped_column(ForeignKey("products.id"))
    reason: Mapped[str | None] = mapped_column(Text)
    posted_at: Mapped[datetime] = mapped_column(timestamp)
    decided_at: Mapped[datetime | None] = mapped_column(timestamp)
    decided_by: Mapped[UUID | None] = mapped_column(Uuid)
    fulfilled_at: Mapped[datetime | None] = mapped_column(timestamp)
    version: Mapped[int] = mapped_column(Integer)
    search: Mapped[Any] = mapped_column(TSVECTOR, nullable=False, deferred=True)


class Product(Base):
    """What can be claimed or booked. `need_id` is the need it was made from."""

    __tablename__ = "products"
    __table_args__ = (
        one_of("status", ProductStatus),
        one_of("kind", ProductKind),
        one_of("claim_policy", ClaimPolicy),
        one_of("claimants", Claimants),
        one_of("tier", ProductTier),
        CheckConstraint("claim_capacity > 0 AND lease_hours > 0", name="terms"),
        CheckConstraint("status = 'draft' OR published_at IS NOT NULL", name="published"),
        CheckConstraint(
            "least(claims_active, claims_completed, participants, reviews, stars_sum) >= 0", name="counters"
        ),
        Index("ix_products_status_id", "status", "id"),
        Index("ix_products_kind_id", "kind", "id"),
        Index("ix_products_category_id_id", "category_id", "id"),
        Index("ix_products_organisation_id_id", "organisation_id", "id"),
        Index("ix_products_created_by_id", "created_by", "id", postgresql_where=text("status = 'draft'")),
        Index("ix_products_area_path", "area_path", postgresql_using="gin"),
        Index("ix_products_search", "search", postgresql_using="gin"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    area_id: Mapped[UUID] = mapped_column(Uuid)
    area_path: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid))
    category_id: Mapped[UUID | None] = mapped_column(ForeignKey("categories.id"))
    organisation_id: Mapped[UUID | None] = mapped_column(Uuid)
    # No foreign key: needs point here already, and two tables that point at each other cannot be filled in order.
    need_id: Mapped[UUID | None] = mapped_column(Uuid)
    kind: Mapped[ProductKind] = mapped_column(Text)
    title: Mapped[str] = mapped_column(Text)
    title_en: Mapped[str | None] = mapped_column(Text)
    summary: Mapped[str] = mapped_column(Text)
    status: Mapped[ProductStatus] = mapped_column(Text)
    tier: Mapped[ProductTier | None] = mapped_column(Text)
    claim_policy: Mapped[ClaimPolicy] = mapped_column(Text)
    claimants: Mapped[Claimants] = mapped_column(Text)
    claim_capacity: Mapped[int] = mapped_column(Integer)
    lease_hours: Mapped[int] = mapped_column(Integer)
    created_by: Mapped[UUID] = mapped_column(Uuid)
    created_at: Mapped[datetime] = mapped_column(timestamp)
    published_at: Mapped[datetime | None] = mapped_column(timestamp)
    version: Mapped[int] = mapped_column(Integer)
    search: Mapped[Any] = mapped_column(TSVECTOR, nullable=False, deferred=True)

    claims_active: Mapped[int] = mapped_column(Integer, default=0)
    claims_completed: Mapped[int] = mapped_column(Integer, default=0)
    participants: Mapped[int] = mapped_column(Integer, default=0)
    reviews: Mapped[int] = mapped_column(Integer, default=0)
    stars_sum: Mapped[int] = mapped_column(Integer, default=0)


class ScheduledSession(Base):
    """One date of a product (a session, 场次). It keeps the title under which it was scheduled."""

    __tablename__ = "sessions"
    __table_args__ = (
        one_of("status", SessionStatus),
        one_of("confirmation", Confirmation),
        CheckConstraint("starts_at < ends_at AND book_until <= ends_at", name="times"),
        CheckConstraint("capacity > 0 AND seats_taken >= 0", name="seats"),
        CheckConstraint("(status = 'cancelled') = (reason IS NOT NULL)", name="reason"),
        Index("ix_sessions_product_id_starts_at_id", "product_id", "starts_at", "id"),
        Index("ix_sessions_starts_at_id", "starts_at", "id"),
        Index("ix_sessions_area_path", "area_path", postgresql_using="gin"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    product_id: Mapped[UUID] = mapped_column(ForeignKey("products.id"))
    area_id: Mapped[UUID] = mapped_column(Uuid)
    area_path: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid))
    title: Mapped[str] = mapped_column(Text)
    starts_at: Mapped[datetime] = mapped_column(timestamp)
    ends_at: Mapped[datetime] = mapped_column(timestamp)
    book_until: Mapped[datetime] = mapped_column(timestamp)
    venue: Mapped[str] = mapped_column(Text)
    capacity: Mapped[int] = mapped_column(Integer)
    confirmation: Mapped[Confirmation] = mapped_column(Text)
    status: Mapped[SessionStatus] = mapped_column(Text)
    reason: Mapped[str | None] = mapped_column(Text)
    version: Mapped[int] = mapped_column(Integer)

    seats_taken: Mapped[int] = mapped_column(Integer, default=0)


class Reward(Base):
    """A reward of the points shop and its price for one piece."""

    __tablename__ = "rewards"
    __table_args__ = (
        CheckConstraint("cost_points > 0", name="price"),
        Index("ix_rewards_area_path", "area_path", postgresql_using="gin"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    area_id: Mapped[UUID] = mapped_column(Uuid)
    area_path: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid))
    title: Mapped[str] = mapped_column(Text)
    title_en: Mapped[str | None] = mapped_column(Text)
    cost_points: Mapped[int] = mapped_column(Integer)
    version: Mapped[int] = mapped_column(Integer)


class RewardStock(Base):
    """Pieces of a reward that one centre has in all; a centre once named stays, if need be with none."""

    __tablename__ = "reward_stock"
    __table_args__ = (CheckConstraint("total >= 0", name="total"),)

    reward_id: Mapped[UUID] = mapped_column(ForeignKey("rewards.id"), primary_key=True)
    centre_id: Mapped[UUID] = mapped_column(ForeignKey("centres.id"), primary_key=True)
    total: Mapped[int] = mapped_column(Integer)
