"""The table of reviews: stars and words about a claim or a session, once per author."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, Integer, Text, UniqueConstraint, Uuid
from sqlalchemy.orm import Mapped, mapped_column

from chassis.tables import timestamp
from services.orders.models.base import Base


class Review(Base):
    """What one person says of one claim or session."""

    __tablename__ = "reviews"
    __table_args__ = (
        CheckConstraint("subject_type IN ('claim', 'session')", name="subject_type"),
        CheckConstraint("stars BETWEEN 1 AND 5", name="stars"),
        UniqueConstraint("author_id", "subject_type", "subject_id"),
        Index("ix_reviews_product_id_id", "product_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    subject_type: Mapped[str] = mapped_column(Text)
    subject_id: Mapped[UUID] = mapped_column(Uuid)
    product_id: Mapped[UUID] = mapped_column(Uuid)
    author_id: Mapped[UUID] = mapped_column(Uuid)
    stars: Mapped[int] = mapped_column(Integer)
    text: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(timestamp)
