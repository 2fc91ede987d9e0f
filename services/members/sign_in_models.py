"""The tables of sign-in: challenges, staff accounts with their wrong tries, sign-ins with their refresh tokens."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import Boolean, CheckConstraint, ForeignKey, Index, Integer, LargeBinary, Text, Uuid, false
from sqlalchemy.orm import Mapped, mapped_column

from chassis.tables import timestamp
from services.members.models import Base


class Challenge(Base):
    """A code on its way to a phone, both sealed; whether the phone is known plays no part until the code comes back."""

    __tablename__ = "challenges"
    __table_args__ = (
        CheckConstraint("attempts >= 0", name="attempts"),
        Index("ix_challenges_phone_index_created_at", "phone_index", "created_at"),
        Index("ix_challenges_created_at", "created_at"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    phone_index: Mapped[bytes] = mapped_column(LargeBinary)
    phone_sealed: Mapped[bytes] = mapped_column(LargeBinary)
    code_sealed: Mapped[bytes] = mapped_column(LargeBinary)
    locale: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(timestamp)
    expires_at: Mapped[datetime] = mapped_column(timestamp)
    # Where it was asked for, as a keyed hash, and whether somebody had signed in with the phone from there before.
    address_index: Mapped[bytes | None] = mapped_column(LargeBinary)
    familiar: Mapped[bool] = mapped_column(Boolean, server_default=false())
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    used_at: Mapped[datetime | None] = mapped_column(timestamp)


class StaffAccount(Base):
    """A person who signs in with a password."""

    __tablename__ = "staff_accounts"

    username: Mapped[str] = mapped_column(Text, primary_key=True)
    person_id: Mapped[UUID] = mapped_column(ForeignKey("people.id"), unique=True)
    password_hash: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(timestamp)


class PasswordTries(Base):
    """Tries for one username since `since` that have not led to a sign-in, from all addresses that are not familiar to
    it, whether or not there is such an account.

    The key is a keyed hash: people type all sorts of things into a username field.
    """

    __tablename__ = "password_tries"
    __table_args__ = (Index("ix_password_tries_since", "since"),)

    username_index: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    tries: Mapped[int] = mapped_column(Integer)
    since: Mapped[datetime] = mapped_column(timestamp)


class AddressTries(Base):
    """Tries for one username from one address since `since` that have not led to a sign-in. Both are keyed hashes."""

    __tablename__ = "address_tries"
    __table_args__ = (Index("ix_address_tries_since", "since"),)

    username_index: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    address_index: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    tries: Mapped[int] = mapped_column(Integer)
    since: Mapped[datetime] = mapped_column(timestamp)


class FamiliarAddress(Base):
    """An address from which a phone's or username's owner has signed in, and when last. All are keyed hashes."""

    __tablename__ = "familiar_addresses"
    __table_args__ = (Index("ix_familiar_addresses_used_at", "used_at"),)

    subject_index: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    address_index: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    used_at: Mapped[datetime] = mapped_column(timestamp)


class SignIn(Base):
    """One sign-in on one device: the `sid` of its access tokens, and the family of its refresh tokens."""

    __tablename__ = "sign_ins"
    __table_args__ = (
        Index("ix_sign_ins_person_id", "person_id"),
        Index("ix_sign_ins_expires_at", "expires_at"),
        Index("ix_sign_ins_ended_at", "ended_at"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    person_id: Mapped[UUID] = mapped_column(ForeignKey("people.id"))
    created_at: Mapped[datetime] = mapped_column(timestamp)
    expires_at: Mapped[datetime] = mapped_column(timestamp)
    ended_at: Mapped[datetime | None] = mapped_column(timestamp)


class RefreshToken(Base):
    """One refresh token, hashed. A used one is kept until it expires, so that its second use is noticed."""

    __tablename__ = "refresh_tokens"
    __table_args__ = (
        Index("ix_refresh_tokens_sign_in_id", "sign_in_id"),
        Index("ix_refresh_tokens_expires_at", "expires_at"),
    )

    token_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    sign_in_id: Mapped[UUID] = mapped_column(ForeignKey("sign_ins.id", ondelete="CASCADE"))
    expires_at: Mapped[datetime] = mapped_column(timestamp)
    used_at: Mapped[datetime | None] = mapped_column(timestamp)
