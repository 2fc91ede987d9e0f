"""The tables of members: places, organisations, people and what binds them. Sign-in has its own in `sign_in_models`."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, LargeBinary, Text, UniqueConstraint, Uuid, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from chassis.tables import service_metadata, timestamp


class Base(DeclarativeBase):
    """Declares members' tables beside those of the chassis."""

    metadata = service_metadata()


class Area(Base):
    """A node of the grid tree; `path` runs from the root to the area itself."""

    __tablename__ = "areas"
    __table_args__ = (
        CheckConstraint("path[cardinality(path)] = id", name="path_ends_here"),
        CheckConstraint("(parent_id IS NULL) = (cardinality(path) = 1)", name="root_has_no_parent"),
        Index("ix_areas_path", "path", postgresql_using="gin"),
        Index("ix_areas_parent_id_id", "parent_id", "id"),
        Index("ix_areas_level_id", "level", "id"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    parent_id: Mapped[UUID | None] = mapped_column(ForeignKey("areas.id"))
    path: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid))
    level: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    name_en: Mapped[str | None] = mapped_column(Text)
    timezone: Mapped[str] = mapped_column(Text)
    active: Mapped[bool] = mapped_column(default=True)
    version: Mapped[int] = mapped_column(Integer, default=1)


class Organisation(Base):
    """A branch, company, social organisation, government unit or merchant, at home in one area."""

    __tablename__ = "organisations"
    __table_args__ = (Index("ix_organisations_area_id_id", "area_id", "id"),)

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    area_id: Mapped[UUID] = mapped_column(ForeignKey("areas.id"))
    name: Mapped[str] = mapped_column(Text)
    name_en: Mapped[str | None] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(Text)
    version: Mapped[int] = mapped_column(Integer, default=1)


class Centre(Base):
    """A service centre of an area; rewards are collected there."""

    __tablename__ = "centres"
    __table_args__ = (Index("ix_centres_area_id_id", "area_id", "id"),)

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    area_id: Mapped[UUID] = mapped_column(ForeignKey("areas.id"))
    name: Mapped[str] = mapped_column(Text)
    name_en: Mapped[str | None] = mapped_column(Text)
    address: Mapped[str] = mapped_column(Text)
    version: Mapped[int] = mapped_column(Integer, default=1)


class Person(Base):
    """Somebody with an account; what reaches them stands in `Contact`."""

    __tablename__ = "people"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    display_name: Mapped[str] = mapped_column(Text)
    locale: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(timestamp)
    version: Mapped[int] = mapped_column(Integer, default=1)


class Contact(Base):
    """A person's phone: sealed, and found by its keyed hash. The only place that has it."""

    __tablename__ = "contacts"

    person_id: Mapped[UUID] = mapped_column(ForeignKey("people.id"), primary_key=True)
    phone_index: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    phone_sealed: Mapped[bytes] = mapped_column(LargeBinary)


class Registration(Base):
    """A person or an organisation registered with an area (报到); one row for each pair, whether active or left.

    `organisation_id` is the registered organisation, or the unit that a person named.
    """

    __tablename__ = "registrations"
    __table_args__ = (
        CheckConstraint(
            "subject = 'person' AND person_id IS NOT NULL OR subject = 'organisation' AND person_id IS NULL "
            "AND organisation_id IS NOT NULL",
            name="subject",
        ),
        CheckConstraint("status IN ('active', 'left')", name="status"),
        Index(
            "uq_registrations_person", "person_id", "area_id", unique=True, postgresql_where=text("subject = 'person'")
        ),
        Index(
            "uq_registrations_organisation",
            "organisation_id",
            "area_id",
            unique=True,
            postgresql_where=text("subject = 'organisation'"),
        ),
        Index("ix_registrations_area_id", "area_id", postgresql_where=text("status = 'active'")),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    subject: Mapped[str] = mapped_column(Text)
    person_id: Mapped[UUID | None] = mapped_column(ForeignKey("people.id"))
    organisation_id: Mapped[UUID | None] = mapped_column(ForeignKey("organisations.id"))
    area_id: Mapped[UUID] = mapped_column(ForeignKey("areas.id"))
    kind: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text)
    registered_at: Mapped[datetime] = mapped_column(timestamp)
    version: Mapped[int] = mapped_column(Integer, default=1)


class Membership(Base):
    """A person belongs to an organisation, once it has confirmed."""

    __tablename__ = "memberships"
    __table_args__ = (
        UniqueConstraint("person_id", "organisation_id"),
        CheckConstraint(
            "status = 'requested' AND confirmed_at IS NULL OR status = 'confirmed' AND confirmed_at IS NOT NULL",
            name="status",
        ),
        Index("ix_memberships_organisation_id_id", "organisation_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    organisation_id: Mapped[UUID] = mapped_column(ForeignKey("organisations.id"))
    person_id: Mapped[UUID] = mapped_column(ForeignKey("people.id"))
    status: Mapped[str] = mapped_column(Text)
    requested_at: Mapped[datetime] = mapped_column(timestamp)
    confirmed_at: Mapped[datetime | None] = mapped_column(timestamp)
    version: Mapped[int] = mapped_column(Integer, default=1)


class Role(Base):
    """A role somebody holds until it is revoked: in an area's subtree, within an organisation, or everywhere."""

    __tablename__ = "roles"
    __table_args__ = (
        CheckConstraint(
            "CASE role WHEN 'operator' THEN area_id IS NULL AND organisation_id IS NULL "
            "WHEN 'organisation_admin' THEN area_id IS NULL AND organisation_id IS NOT NULL "
            "ELSE area_id IS NOT NULL AND organisation_id IS NULL END",
            name="scope",
        ),
        Index(
            "uq_roles_held",
            "person_id",
            "role",
            "area_id",
            "organisation_id",
            unique=True,
            postgresql_nulls_not_distinct=True,
            postgresql_where=text("revoked_at IS NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    person_id: Mapped[UUID] = mapped_column(ForeignKey("people.id"))
    role: Mapped[str] = mapped_column(Text)
    area_id: Mapped[UUID | None] = mapped_column(ForeignKey("areas.id"))
    organisation_id: Mapped[UUID | None] = mapped_column(ForeignKey("organisations.id"))
    granted_at: Mapped[datetime] = mapped_column(timestamp)
    revoked_at: Mapped[datetime | None] = mapped_column(timestamp)
    version: Mapped[int] = mapped_column(Integer, default=1)
