"""The table of attendance: who came, to what, from when to when, and who says so."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, Integer, Text, Uuid, text
from sqlalchemy.orm import Mapped, mapped_column

from chassis.tables import timestamp
from services.orders.models.base import Base

_NOT_VOIDED = text("status <> 'voided'")


class Attendance(Base):
    """One person's presence for one booking or one claim. `minutes` stands once the person checked out."""

    __tablename__ = "attendances"
    __table_args__ = (
        CheckConstraint("status IN ('checked_in', 'checked_out', 'voided')", name="status"),
        CheckConstraint("grade IN ('scanned', 'attested')", name="grade"),
        CheckConstraint("num_nonnulls(booking_id, claim_id) = 1", name="one_subject"),
        CheckConstraint("(booking_id IS NULL) = (session_id IS NULL)", name="session_of_booking"),
        CheckConstraint("(checked_out_at IS NULL) = (minutes IS NULL)", name="minutes_with_check_out"),
        CheckConstraint("minutes BETWEEN 0 AND 1440", name="minutes_of_a_day"),
        Index("uq_attendances_booking_id", "booking_id", unique=True, postgresql_where=_NOT_VOIDED),
        Index("uq_attendances_claim_id_person_id", "claim_id", "person_id", unique=True, postgresql_where=_NOT_VOIDED),
        Index("ix_attendances_person_id_id", "person_id", "id"),
        Index("ix_attendances_session_id_id", "session_id", "id"),
        Index("ix_attendances_product_id_person_id", "product_id", "person_id"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    person_id: Mapped[UUID] = mapped_column(Uuid)
    product_id: Mapped[UUID] = mapped_column(Uuid)
    session_id: Mapped[UUID | None] = mapped_column(Uuid)
    booking_id: Mapped[UUID | None] = mapped_column(Uuid)
    claim_id: Mapped[UUID | None] = mapped_column(Uuid)
    area_id: Mapped[UUID] = mapped_column(Uuid)
    title: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text)
    grade: Mapped[str] = mapped_column(Text)
    checked_in_at: Mapped[datetime] = mapped_column(timestamp)
    checked_out_at: Mapped[datetime | None] = mapped_column(timestamp)
    minutes: Mapped[int | None] = mapped_column(Integer)
    recorded_by: Mapped[UUID] = mapped_column(Uuid)
    voided_by: Mapped[UUID | None] = mapped_column(Uuid)
    void_reason: Mapped[str | None] = mapped_column(Text)
    version: Mapped[int] = mapped_column(Integer)
