"""Claims and the progress reported on them."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, Text, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from chassis.tables import timestamp
from services.orders.models.base import Base


class Claim(Base):
    """A product taken on by a claimant; all but a released one hold a place of the product.

    `person_id` acted for the claimant. `agreement` is the text that was signed, by language.
    """

    __tablename__ = "claims"
    __table_args__ = (
        CheckConstraint("status IN ('accepted', 'signed', 'completed', 'released')", name="status"),
        CheckConstraint("claimant_type IN ('member', 'organisation')", name="claimant_type"),
        CheckConstraint("percent BETWEEN 0 AND 100", name="percent"),
        Index(
            "uq_claims_product_id_claimant_id_held",
            "product_id",
            "claimant_id",
            unique=True,
            postgresql_where=text("status <> 'released'"),
        ),
        Index("ix_claims_lease_until", "lease_until", postgresql_where=text("status IN ('accepted', 'signed')")),
        Index("ix_claims_product_id_id", "product_id", "id"),
        Index("ix_claims_person_id_id", "person_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    product_id: Mapped[UUID] = mapped_column(ForeignKey("product_offers.product_id"))
    area_id: Mapped[UUID] = mapped_column(Uuid)
    title: Mapped[str] = mapped_column(Text)
    claimant_type: Mapped[str] = mapped_column(Text)
    claimant_id: Mapped[UUID] = mapped_column(Uuid)
    person_id: Mapped[UUID] = mapped_column(Uuid)
    status: Mapped[str] = mapped_column(Text)
    lease_until: Mapped[datetime] = mapped_column(timestamp)
    signed_at: Mapped[datetime | None] = mapped_column(timestamp)
    agreement: Mapped[dict[str, str] | None] = mapped_column(JSONB(none_as_null=True))
    percent: Mapped[int] = mapped_column(Integer, server_default="0")
    created_at: Mapped[datetime] = mapped_column(timestamp)
    version: Mapped[int] = mapped_column(Integer)


class ProgressUpdate(Base):
    """What a claimant reported: percent of the whole, and a note."""

    __tablename__ = "progress_updates"
    __table_args__ = (
        CheckConstraint("percent BETWEEN 0 AND 100", name="percent"),
        Index("ix_progress_updates_claim_id_id", "claim_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    claim_id: Mapped[UUID] = mapped_column(ForeignKey("claims.id"))
    percent: Mapped[int] = mapped_column(Integer)
    note: Mapped[str | None] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(timestamp)
