"""The tables that every service's database has besides its own, and the metadata a service's models build on."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

# Put into a table's `info`: the application's role may insert and read, never change or delete.
APPEND_ONLY = {"append_only": True}

_chassis = MetaData(naming_convention=NAMING)

timestamp = DateTime(timezone=True)

outbox = Table(
    "outbox",
    _chassis,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("event_id", Uuid, nullable=False),
    Column("routing_key", Text, nullable=False),
    Column("document", Text, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("next_at", timestamp, nullable=False),
    Column("cause", Text),
)

inbox = Table(
    "inbox",
    _chassis,
    Column("event_id", Uuid, primary_key=True),
    Column("received_at", timestamp, nullable=False),
    Index("ix_inbox_received_at", "received_at"),
)

# Events whose handling failed, and those that wait behind them. `state`: retry, dead, discarded (for `reason`).
parked = Table(
    "parked",
    _chassis,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("event_id", Uuid, nullable=False, unique=True),
    Column("type", Text, nullable=False),
    Column("partition_key", Text, nullable=False),
    Column("document", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_at", timestamp, nullable=False),
    Column("cause", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("parked_at", timestamp, nullable=False),
    Column("reason", Text),
    Index("ix_parked_partition_key_id", "partition_key", "id", postgresql_where=text("state = 'retry'")),
    Index("ix_parked_next_at", "next_at", postgresql_where=text("state = 'retry'")),
)

idempotency_keys = Table(
    "idempotency_keys",
    _chassis,
    Column("person_id", Uuid, nullable=False),
    Column("route", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("answer", JSONB, nullable=False),
    Column("created_at", timestamp, nullable=False),
    PrimaryKeyConstraint("person_id", "route", "key"),
    Index("ix_idempotency_keys_created_at", "created_at"),
)

# Tokens signed for the subject (a person or a session) before `not_before` are refused.
token_cutoffs = Table(
    "token_cutoffs",
    _chassis,
    Column("subject_id", Uuid, primary_key=True),
    Column("not_before", timestamp, nullable=False),
    Index("ix_token_cutoffs_not_before", "not_before"),
)

# Who did what to whom, of the things that must be answered for (`chassis.audit`).
audit_entries = Table(
    "audit_entries",
    _chassis,
    Column("id", Uuid, primary_key=True),
    Column("at", timestamp, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject_id", Uuid, nullable=False),
    Column("detail", JSONB, nullable=False),
    Index("ix_audit_entries_subject_id_id", "subject_id", "id"),
    info=APPEND_ONLY,
)

# Who was erased, and when what was written about them since is swept again: never once `next_at` is null.
erasures = Table(
    "erasures",
    _chassis,
    Column("person_id", Uuid, primary_key=True),
    Column("erased_at", timestamp, nullable=False),
    Column("sweeps", Integer, nullable=False),
    Column("next_at", timestamp),
    Index("ix_erasures_next_at", "next_at", postgresql_where=text("next_at IS NOT NULL")),
)

scopes = Table(
    "scopes",
    _chassis,
    Column("id", Uuid, primary_key=True),
    Column("path", ARRAY(Uuid), nullable=False),
    Column("timezone", Text, nullable=False),
    Column("sequence", Integer, nullable=False),
)


def service_metadata() -> MetaData:
    """Metadata for one service's models, with the chassis' tables in it."""
    metadata = MetaData(naming_convention=NAMING)
    for table in _chassis.sorted_tables:
        table.to_metadata(metadata)
    return metadata
