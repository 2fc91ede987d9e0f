"""Tables of notify: people's languages, messages, deliveries, live streams, and the SMS sandbox of development."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, Integer, Text, UniqueConstraint, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from chassis.tables import service_metadata, timestamp

DeliveryState = Literal["waiting", "sending", "sent", "failed", "skipped"]
StreamKind = Literal["message", "points", "status"]


class Base(DeclarativeBase):
    """Base of notify's tables."""

    metadata = service_metadata()


class Person(Base):
    """The copy of the language a person is written to in."""

    __tablename__ = "people"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    locale: Mapped[str] = mapped_column(Text)
    sequence: Mapped[int] = mapped_column(Integer)


class Message(Base):
    """One entry of a person's inbox; its words are made when it is read, in the reader's language."""

    __tablename__ = "messages"
    __table_args__ = (
        UniqueConstraint("event_id", "person_id", "template"),
        Index("ix_messages_person_id_id", "person_id", "id"),
        Index("ix_messages_unread", "person_id", "id", postgresql_where=text("read_at IS NULL")),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    person_id: Mapped[UUID] = mapped_column(Uuid)
    event_id: Mapped[UUID] = mapped_column(Uuid)
    template: Mapped[str] = mapped_column(Text)
    params: Mapped[dict[str, Any]] = mapped_column(JSONB)
    created_at: Mapped[datetime] = mapped_column(timestamp)
    read_at: Mapped[datetime | None] = mapped_column(timestamp)


class Delivery(Base):
    """One message through one channel. `due_at`: waiting, its next attempt; sending, the end of the sender's lease."""

    __tablename__ = "deliveries"
    __table_args__ = (
        UniqueConstraint("event_id", "template", "channel"),
        CheckConstraint("state IN ('waiting', 'sending', 'sent', 'failed', 'skipped')", name="state"),
        CheckConstraint("(person_id IS NULL) <> (challenge_id IS NULL)", name="one_addressee"),
        Index("ix_deliveries_person_id_id", "person_id", "id"),
        Index("ix_deliveries_due_at", "due_at", postgresql_where=text("state IN ('waiting', 'sending')")),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    person_id: Mapped[UUID | None] = mapped_column(Uuid)
    challenge_id: Mapped[UUID | None] = mapped_column(Uuid)
    event_id: Mapped[UUID] = mapped_column(Uuid)
    template: Mapped[str] = mapped_column(Text)
    params: Mapped[dict[str, Any]] = mapped_column(JSONB)
    channel: Mapped[str] = mapped_column(Text)
    state: Mapped[DeliveryState] = mapped_column(Text)
    attempts: Mapped[int] = mapped_column(Integer)
    due_at: Mapped[datetime] = mapped_column(timestamp)
    expires_at: Mapped[datetime | None] = mapped_column(timestamp)
    cause: Mapped[str | None] = mapped_column(Text)
    changed_at: Mapped[datetime] = mapped_column(timestamp)
    version: Mapped[int] = mapped_column(Integer)


class Stream(Base):
    """A person's live stream: who holds this row's lock gives the next numbers."""

    __tablename__ = "streams"

    person_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    last_seq: Mapped[int] = mapped_column(BigInteger)


class StreamItem(Base):
    """One item of a person's live stream, numbered from 1 without gaps."""

    __tablename__ = "stream_items"
    __table_args__ = (CheckConstraint("kind IN ('message', 'points', 'status')", name="kind"),)

    person_id: Mapped[UUID] = mapped_column(ForeignKey(Stream.person_id), primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    kind: Mapped[StreamKind] = mapped_column(Text)
    data: Mapped[dict[str, Any]] = mapped_column(JSONB)


class SandboxSms(Base):
    """Development only: an SMS as its receiver would have it; `key` is the delivery it came by."""

    __tablename__ = "sandbox_sms"
    __table_args__ = (Index("ix_sandbox_sms_phone_hash_key", "phone_hash", "key"),)

    key: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    phone_hash: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text)
    sent_at: Mapped[datetime] = mapped_column(timestamp)
