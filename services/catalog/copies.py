"""The tables of copies: what other services told of organisations, centres, claims, bookings, attendances and reviews.

Each row carries the `sequence` of the fact it was taken from and yields to a higher one only, so that facts may come
twice and in any order. The public counters are counted from these rows.
"""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from sqlalchemy import Index, Integer, Text, Uuid
from sqlalchemy.orm import Mapped, mapped_column

from services.catalog.models import Base, one_of

ClaimState = Literal["active", "completed", "released"]


class Organisation(Base):
    """Copy: an organisation's name, to show who offers and who claims."""

    __tablename__ = "organisations"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    sequence: Mapped[int] = mapped_column(Integer)


class Centre(Base):
    """Copy: a centre at which rewards can be collected."""

    __tablename__ = "centres"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    area_id: Mapped[UUID] = mapped_column(Uuid)
    sequence: Mapped[int] = mapped_column(Integer)


class ClaimSeen(Base):
    """Copy: how far each claim is."""

    __tablename__ = "claims_seen"
    __table_args__ = (
        one_of("state", ClaimState),
        Index("ix_claims_seen_product_id_state", "product_id", "state"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    product_id: Mapped[UUID] = mapped_column(Uuid)
    organisation_id: Mapped[UUID | None] = mapped_column(Uuid)
    state: Mapped[ClaimState] = mapped_column(Text)
    sequence: Mapped[int] = mapped_column(Integer)


class BookingSeen(Base):
    """Copy: the seats each booking takes; none once it is cancelled."""

    __tablename__ = "bookings_seen"
    __table_args__ = (Index("ix_bookings_seen_session_id", "session_id"),)

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    session_id: Mapped[UUID] = mapped_column(Uuid)
    seats: Mapped[int] = mapped_column(Integer)
    sequence: Mapped[int] = mapped_column(Integer)


class AttendanceSeen(Base):
    """Copy: who came to which product, unless it was recorded by mistake."""

    __tablename__ = "attendances_seen"
    __table_args__ = (Index("ix_attendances_seen_product_id_person_id", "product_id", "person_id"),)

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    product_id: Mapped[UUID] = mapped_column(Uuid)
    person_id: Mapped[UUID] = mapped_column(Uuid)
    voided: Mapped[bool]
    sequence: Mapped[int] = mapped_column(Integer)


class ReviewSeen(Base):
    """Copy: the stars of each review."""

    __tablename__ = "reviews_seen"
    __table_args__ = (Index("ix_reviews_seen_product_id", "product_id"),)

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    product_id: Mapped[UUID] = mapped_column(Uuid)
    stars: Mapped[int] = mapped_column(Integer)
    sequence: Mapped[int] = mapped_column(Integer)
