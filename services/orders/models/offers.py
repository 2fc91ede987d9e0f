"""Copies of what others own and orders decides from: products, sessions, rewards, centres, registrations, memberships.

A capacity is three numbers: `total` as its owner says, `taken` as orders decided, and `limit`, the greater of the two:
a total lowered below what is taken takes nothing back and lets nobody in until enough places are given back.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, Integer, Text, Uuid, text
from sqlalchemy.orm import Mapped, mapped_column

from chassis.tables import timestamp
from services.orders.models.base import Base


class ProductOffer(Base):
    """A product as far as claims need it; `claim_taken` counts the claims that hold a place."""

    __tablename__ = "product_offers"
    __table_args__ = (CheckConstraint("claim_taken BETWEEN 0 AND claim_limit", name="claim_taken_within_limit"),)

    product_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    area_id: Mapped[UUID] = mapped_column(Uuid)
    category_id: Mapped[UUID | None] = mapped_column(Uuid)
    kind: Mapped[str | None] = mapped_column(Text)
    title: Mapped[str] = mapped_column(Text)
    organisation_id: Mapped[UUID | None] = mapped_column(Uuid)
    claim_policy: Mapped[str] = mapped_column(Text, server_default="none")
    claimants: Mapped[str] = mapped_column(Text, server_default="both")
    lease_hours: Mapped[int] = mapped_column(Integer, server_default="0")
    open: Mapped[bool]
    claim_total: Mapped[int] = mapped_column(Integer, server_default="0")
    claim_limit: Mapped[int] = mapped_column(Integer, server_default="0")
    claim_taken: Mapped[int] = mapped_column(Integer, server_default="0")
    sequence: Mapped[int] = mapped_column(Integer)


class SessionOffer(Base):
    """A session as far as bookings need it; `seats_taken` is the sum of seats of pending and confirmed bookings.

    `queue_last` is the number that the last party to join the waiting list got.
    """

    __tablename__ = "session_offers"
    __table_args__ = (
        CheckConstraint("seats_taken BETWEEN 0 AND seat_limit", name="seats_taken_within_limit"),
        CheckConstraint("status IN ('scheduled', 'cancelled')", name="status"),
        Index("ix_session_offers_product_id", "product_id"),
    )

    session_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    product_id: Mapped[UUID] = mapped_column(Uuid)
    area_id: Mapped[UUID] = mapped_column(Uuid)
    title: Mapped[str] = mapped_column(Text)
    starts_at: Mapped[datetime] = mapped_column(timestamp)
    ends_at: Mapped[datetime] = mapped_column(timestamp)
    book_until: Mapped[datetime] = mapped_column(timestamp)
    venue: Mapped[str] = mapped_column(Text)
    confirmation: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text)
    seat_total: Mapped[int] = mapped_column(Integer, server_default="0")
    seat_limit: Mapped[int] = mapped_column(Integer, server_default="0")
    seats_taken: Mapped[int] = mapped_column(Integer, server_default="0")
    queue_last: Mapped[int] = mapped_column(Integer, server_default="0")
    sequence: Mapped[int] = mapped_column(Integer)


class RewardOffer(Base):
    """A reward at one centre; `stock_taken` counts the pieces reserved or handed over."""

    __tablename__ = "reward_offers"
    __table_args__ = (CheckConstraint("stock_taken BETWEEN 0 AND stock_limit", name="stock_taken_within_limit"),)

    reward_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    centre_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    area_id: Mapped[UUID] = mapped_column(Uuid)
    title: Mapped[str] = mapped_column(Text)
    cost_points: Mapped[int] = mapped_column(Integer)
    stock_total: Mapped[int] = mapped_column(Integer, server_default="0")
    stock_limit: Mapped[int] = mapped_column(Integer, server_default="0")
    stock_taken: Mapped[int] = mapped_column(Integer, server_default="0")
    sequence: Mapped[int] = mapped_column(Integer)


class Centre(Base):
    """A centre where rewards are collected."""

    __tablename__ = "centres"

    centre_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    area_id: Mapped[UUID] = mapped_column(Uuid)
    name: Mapped[str] = mapped_column(Text)
    sequence: Mapped[int] = mapped_column(Integer)


class Registration(Base):
    """A person or an organisation registered with an area, or that left it."""

    __tablename__ = "registrations"
    __table_args__ = (
        Index("ix_registrations_person_id_area_id", "person_id", "area_id", postgresql_where=text("status = 'active'")),
    )

    registration_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    subject: Mapped[str] = mapped_column(Text)
    person_id: Mapped[UUID | None] = mapped_column(Uuid)
    organisation_id: Mapped[UUID | None] = mapped_column(Uuid)
    area_id: Mapped[UUID] = mapped_column(Uuid)
    status: Mapped[str] = mapped_column(Text)
    sequence: Mapped[int] = mapped_column(Integer)


class Membership(Base):
    """A person whom an organisation confirmed as its member."""

    __tablename__ = "memberships"
    __table_args__ = (Index("ix_memberships_person_id_organisation_id", "person_id", "organisation_id"),)

    membership_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    organisation_id: Mapped[UUID] = mapped_column(Uuid)
    person_id: Mapped[UUID] = mapped_column(Uuid)
    sequence: Mapped[int] = mapped_column(Integer)
