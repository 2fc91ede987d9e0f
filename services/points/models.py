"""The tables of points: the ledger (accounts, transfers, entries), rules, attendances, scores, holds."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    Text,
    UniqueConstraint,
    Uuid,
    false,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from chassis.tables import APPEND_ONLY, service_metadata, timestamp
from contracts.points import Asset

SubjectType = Literal["person", "organisation"]
TransferKind = Literal["award", "reversal", "settlement", "hold", "capture", "release"]
# Of a person or organisation: what is free, set aside, owed. Of the system: where all comes from, and where it goes.
Purpose = Literal["main", "held", "debt", "issued", "spent"]
ScoreKind = Literal["member_points", "member_energy", "organisation_energy"]
HoldState = Literal["awaited", "placed", "captured", "released", "refused", "cancelled"]


class Base(DeclarativeBase):
    """Base of this service's tables."""

    metadata = service_metadata()


class Account(Base):
    """One owner's amount of one asset for one purpose; `balance` is the sum of its entries, kept with each posting."""

    __tablename__ = "accounts"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    owner_type: Mapped[str] = mapped_column(Text)
    owner_id: Mapped[UUID] = mapped_column(Uuid)
    asset: Mapped[Asset] = mapped_column(Text)
    purpose: Mapped[Purpose] = mapped_column(Text)
    balance: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (
        UniqueConstraint("owner_type", "owner_id", "asset", "purpose"),
        CheckConstraint("asset IN ('points', 'energy')", name="asset"),
        CheckConstraint(
            "(owner_type IN ('person', 'organisation') AND purpose IN ('main', 'held', 'debt'))"
            " OR (owner_type = 'system' AND purpose IN ('issued', 'spent'))",
            name="purpose",
        ),
        CheckConstraint("CASE WHEN purpose IN ('debt', 'issued') THEN balance <= 0 ELSE balance >= 0 END", name="sign"),
    )


class Transfer(Base):
    """Why amounts moved, for one subject and one asset. `amount` is what the subject won, lost, set aside or got back.

    `areas` (root to the event's area) and `season` say where it scores. `(kind, dedupe_key)` is permanent: the second
    line against duplicates, after the inbox.
    """

    __tablename__ = "transfers"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    kind: Mapped[TransferKind] = mapped_column(Text)
    dedupe_key: Mapped[str] = mapped_column(Text)
    subject_type: Mapped[SubjectType] = mapped_column(Text)
    subject_id: Mapped[UUID] = mapped_column(Uuid)
    asset: Mapped[Asset] = mapped_column(Text)
    amount: Mapped[int] = mapped_column(BigInteger)
    title: Mapped[str | None] = mapped_column(Text)
    event_type: Mapped[str | None] = mapped_column(Text)
    event_id: Mapped[UUID | None] = mapped_column(Uuid)
    rule: Mapped[str | None] = mapped_column(Text)
    rule_version: Mapped[int | None] = mapped_column(Integer)
    arithmetic: Mapped[str | None] = mapped_column(Text)
    areas: Mapped[list[UUID] | None] = mapped_column(ARRAY(Uuid))
    season: Mapped[int | None] = mapped_column(Integer)
    at: Mapped[datetime] = mapped_column(timestamp)

    __table_args__ = (
        UniqueConstraint("kind", "dedupe_key"),
        CheckConstraint("kind IN ('award', 'reversal', 'settlement', 'hold', 'capture', 'release')", name="kind"),
        CheckConstraint(
            "kind NOT IN ('award', 'reversal')"
            " OR num_nulls(event_type, event_id, rule, rule_version, arithmetic, areas, season) = 0",
            name="explained",
        ),
        Index("ix_transfers_subject", "subject_type", "subject_id", "id"),
        Index("ix_transfers_event_id", "event_id"),
        {"info": APPEND_ONLY},
    )


class Entry(Base):
    """What one transfer did to one account. The entries of a transfer sum to zero."""

    __tablename__ = "entries"

    transfer_id: Mapped[UUID] = mapped_column(ForeignKey("transfers.id"), primary_key=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    amount: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (
        CheckConstraint("amount <> 0", name="amount"),
        {"info": APPEND_ONLY},
    )


class Rule(Base):
    """One version of a rule: which facts (by type and `conditions` on their fields) are worth how much (`amount`).

    `amount` is `{"base": 10}` or `{"per": "stars", "times": 2}`. The newest version whose `valid_from` has come holds.
    """

    __tablename__ = "rules"

    key: Mapped[str] = mapped_column(Text, primary_key=True)
    version: Mapped[int] = mapped_column(Integer, primary_key=True)
    event_type: Mapped[str] = mapped_column(Text)
    asset: Mapped[Asset] = mapped_column(Text)
    conditions: Mapped[dict[str, Any]] = mapped_column(JSONB)
    amount: Mapped[dict[str, Any]] = mapped_column(JSONB)
    text: Mapped[str] = mapped_column(Text)
    text_en: Mapped[str] = mapped_column(Text)
    valid_from: Mapped[datetime] = mapped_column(timestamp)

    __table_args__ = (
        CheckConstraint("asset IN ('points', 'energy')", name="asset"),
        CheckConstraint("version >= 1", name="version"),
        {"info": APPEND_ONLY},
    )


class Attendance(Base):
    """What is known of an attendance: its check-in (`fact`, null before it), whether it is void, whether it counts.

    At most one attendance of a person and product counts at a time.
    """

    __tablename__ = "attendances"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    person_id: Mapped[UUID] = mapped_column(Uuid)
    product_id: Mapped[UUID] = mapped_column(Uuid)
    event_id: Mapped[UUID | None] = mapped_column(Uuid)
    fact: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    told_at: Mapped[datetime | None] = mapped_column(timestamp)
    voided: Mapped[bool] = mapped_column(server_default=false())
    counted: Mapped[bool] = mapped_column(server_default=false())

    __table_args__ = (
        CheckConstraint("NOT counted OR (fact IS NOT NULL AND NOT voided)", name="counted"),
        CheckConstraint("num_nulls(event_id, fact, told_at) IN (0, 3)", name="told"),
        Index("ix_attendances_person_id_product_id", "person_id", "product_id"),
        Index("uq_attendances_counted", "person_id", "product_id", unique=True, postgresql_where=text("counted")),
    )


class ReleasedClaim(Base):
    """A claim that gave its place back: it is worth nothing, also if its acceptance is heard of only later."""

    __tablename__ = "released_claims"

    claim_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)


class Score(Base):
    """What a subject won in a season in an area and all below it; of equal scores the one reached first is ahead."""

    __tablename__ = "scores"

    season: Mapped[int] = mapped_column(Integer, primary_key=True)
    area_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    kind: Mapped[ScoreKind] = mapped_column(Text, primary_key=True)
    subject_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    score: Mapped[int] = mapped_column(BigInteger)
    reached_at: Mapped[datetime] = mapped_column(timestamp)

    __table_args__ = (
        CheckConstraint("kind IN ('member_points', 'member_energy', 'organisation_energy')", name="kind"),
        Index("ix_scores_board", "season", "area_id", "kind", text("score DESC"), "reached_at", "subject_id"),
    )


class ScoreCount(Base):
    """How many subjects have a score, of those above zero: from it a rank is read without counting the subjects.

    The database keeps it in step by a trigger on `scores`; nothing else writes it.
    """

    __tablename__ = "score_counts"

    season: Mapped[int] = mapped_column(Integer, primary_key=True)
    area_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    kind: Mapped[ScoreKind] = mapped_column(Text, primary_key=True)
    score: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    subjects: Mapped[int] = mapped_column(BigInteger)


class Hold(Base):
    """What was set aside for one redemption, or was heard of it before its request. `version` counts what we told."""

    __tablename__ = "holds"

    redemption_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    person_id: Mapped[UUID] = mapped_column(Uuid)
    points: Mapped[int] = mapped_column(BigInteger)
    title: Mapped[str] = mapped_column(Text)
    state: Mapped[HoldState] = mapped_column(Text)
    confirmed: Mapped[bool] = mapped_column(server_default=false())
    expires_at: Mapped[datetime | None] = mapped_column(timestamp)
    version: Mapped[int] = mapped_column(Integer)

    __table_args__ = (
        CheckConstraint("points >= 0", name="points"),
        CheckConstraint("state IN ('awaited', 'placed', 'captured', 'released', 'refused', 'cancelled')", name="state"),
        CheckConstraint(
            "(expires_at IS NOT NULL) = (state = 'placed' AND NOT confirmed)", name="expires_while_unconfirmed"
        ),
        Index("ix_holds_expires_at", "expires_at", postgresql_where=text("expires_at IS NOT NULL")),
    )
