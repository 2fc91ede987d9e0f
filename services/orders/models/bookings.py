"""Bookings of sessions, the waiting list among them."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, Text, Uuid, text
from sqlalchemy.orm import Mapped, mapped_column

from chassis.tables import timestamp
from services.orders.models.base import Base


class Booking(Base):
    """A party's booking of a session; pending and confirmed ones take seats, waitlisted ones wait in order of
    `queue_number` and count how often a later party got seats before them."""

    __tablename__ = "bookings"
    __table_args__ = (
        CheckConstraint("status IN ('pending', 'confirmed', 'waitlisted', 'cancelled')", name="status"),
        CheckConstraint("seats > 0", name="seats_positive"),
        CheckConstraint("status <> 'waitlisted' OR queue_number IS NOT NULL", name="waitlisted_has_number"),
        Index(
            "uq_bookings_session_id_person_id_live",
            "session_id",
            "person_id",
            unique=True,
            postgresql_where=text("status <> 'cancelled'"),
        ),
        Index(
            "ix_bookings_session_id_queue_number",
            "session_id",
            "queue_number",
            postgresql_where=text("status = 'waitlisted'"),
        ),
        Index("ix_bookings_session_id_id", "session_id", "id"),
        Index("ix_bookings_person_id_id", "person_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    session_id: Mapped[UUID] = mapped_column(ForeignKey("session_offers.session_id"))
    product_id: Mapped[UUID] = mapped_column(Uuid)
    area_id: Mapped[UUID] = mapped_column(Uuid)
    person_id: Mapped[UUID] = mapped_column(Uuid)
    seats: Mapped[int] = mapped_column(Integer)
    status: Mapped[str] = mapped_column(Text)
    ticket: Mapped[str] = mapped_column(Text, unique=True)
    queue_number: Mapped[int | None] = mapped_column(Integer)
    overtaken: Mapped[int] = mapped_column(Integer, server_default="0")
    created_at: Mapped[datetime] = mapped_column(timestamp)
    version: Mapped[int] = mapped_column(Integer)
