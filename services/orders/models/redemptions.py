"""The table of redemptions: one row is the state of one saga."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, Integer, Text, Uuid, text
from sqlalchemy.orm import Mapped, mapped_column

from chassis.tables import timestamp
from services.orders.models.base import Base


class Redemption(Base):
    """One person's exchange of points for pieces of a reward.

    requested → confirmed → collected → completed, or refused, or cancelled. `deadline` is when an open one
    (requested, confirmed) ends by itself. All but refused and cancelled ones have their quantity of the stock.
    """

    __tablename__ = "redemptions"
    __table_args__ = (
        CheckConstraint(
            "status IN ('requested', 'confirmed', 'collected', 'completed', 'refused', 'cancelled')", name="status"
        ),
        CheckConstraint("quantity > 0", name="quantity"),
        CheckConstraint("points >= 0", name="points"),
        CheckConstraint("(status IN ('requested', 'confirmed')) = (deadline IS NOT NULL)", name="open_until"),
        CheckConstraint("(status IN ('refused', 'cancelled')) = (reason IS NOT NULL)", name="ended_why"),
        CheckConstraint("status = 'requested' OR pickup_code IS NOT NULL OR reason IS NOT NULL", name="pickup_code"),
        Index("uq_redemptions_pickup_code", "pickup_code", unique=True),
        Index("ix_redemptions_person_id_id", "person_id", "id"),
        Index("ix_redemptions_deadline", "deadline", postgresql_where=text("deadline IS NOT NULL")),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    reward_id: Mapped[UUID] = mapped_column(Uuid)
    centre_id: Mapped[UUID] = mapped_column(Uuid)
    area_id: Mapped[UUID] = mapped_column(Uuid)
    title: Mapped[str] = mapped_column(Text)
    person_id: Mapped[UUID] = mapped_column(Uuid)
    quantity: Mapped[int] = mapped_column(Integer)
    points: Mapped[int] = mapped_column(BigInteger)
    status: Mapped[str] = mapped_column(Text)
    reason: Mapped[str | None] = mapped_column(Text)
    pickup_code: Mapped[str | None] = mapped_column(Text)
    deadline: Mapped[datetime | None] = mapped_column(timestamp)
    created_at: Mapped[datetime] = mapped_column(timestamp)
    version: Mapped[int] = mapped_column(Integer)
