"""Every text that any table keeps is either declared as somebody's, and goes when they are erased, or listed here as
nobody's. A new column of text or JSON fails until it is one or the other: ask whose words or data it will hold.
"""

from __future__ import annotations

import importlib

import pytest
from sqlalchemy import Column, LargeBinary, MetaData, Table, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR

from chassis.personal import DELETE, Personal
from chassis.service import Service
from contracts.event import EVENT_TYPES

SERVICES = ["members", "catalog", "orders", "points", "notify"]

# Words of ours (states, kinds, keys), of areas, organisations and offers (titles, names, places), and codes that lead
# to nobody. `outbox` and `parked` lose what `Event.own_words` names; the audit holds ids and words of ours.
EVERYWHERE = {
    "audit_entries": {"actor", "action", "detail"},
    "outbox": {"routing_key", "document", "cause"},
    "parked": {"type", "partition_key", "document", "state", "cause", "fingerprint", "reason"},
    "scopes": {"timezone"},
}
NOBODYS = {
    "members": {
        "areas": {"level", "name", "name_en", "timezone"},
        "centres": {"name", "name_en", "address"},
        "organisations": {"name", "name_en", "kind"},
        # A keyed hash of whatever was typed as a username, for a quarter of an hour.
        "password_tries": {"username_index"},
        "address_tries": {"username_index", "address_index"},
    },
    "catalog": {
        "categories": {"scheme", "key", "name", "name_en"},
        # Only a declined need has a reason, and a declined need goes.
        "needs": {"section", "kind", "status", "reason"},
        "products": {
            *("kind", "title", "title_en", "summary", "status", "tier", "claim_policy", "claimants", "search"),
        },
        "sessions": {"title", "venue", "confirmation", "status", "reason"},
        "rewards": {"title", "title_en"},
        "organisations": {"name"},
        "claims_seen": {"state"},
    },
    "orders": {
        "claims": {"title", "claimant_type", "status", "agreement"},
        "bookings": {"status", "ticket"},
        "attendances": {"title", "status", "grade"},
        "reviews": {"subject_type"},
        "redemptions": {"title", "status", "reason", "pickup_code"},
        "product_offers": {"kind", "title", "claim_policy", "claimants"},
        "session_offers": {"title", "venue", "confirmation", "status"},
        "reward_offers": {"title"},
        "centres": {"name"},
    },
    "points": {
        "accounts": {"owner_type", "asset", "purpose"},
        "transfers": {"kind", "dedupe_key", "subject_type", "asset", "title", "event_type", "rule", "arithmetic"},
        "rules": {"key", "event_type", "asset", "conditions", "amount", "text", "text_en"},
        # An AttendanceRecorded: ids, times, and the product's title.
        "attendances": {"fact"},
        "holds": {"title", "state"},
        "score_counts": {"kind"},
    },
    "notify": {},
}
# Columns by which a row is somebody's.
OWNERS = {"person_id", "author_id", "claimant_id", "created_by", "owner_id"}
# What an event carries as text: words of ours, and names and titles of areas, organisations and offers.
NOBODYS_FIELDS = {
    *("name", "name_en", "address", "level", "timezone", "kind", "status", "role", "locale", "subject"),
    *("venue", "confirmation", "claim_policy", "claimants", "claimant_type", "action", "subject_type"),
    *("asset", "rule", "template", "channel", "cause"),
}


def service(name: str) -> Service:
    found: Service = importlib.import_module(f"services.{name}.app").SERVICE
    return found


def keeps_words(column: Column[object]) -> bool:
    return isinstance(column.type, Text | LargeBinary | JSONB | TSVECTOR)


def unclassified(metadata: MetaData, personal: Personal, nobodys: dict[str, set[str]]) -> dict[str, set[str]]:
    """Columns of text by table that neither go with their person nor are listed as nobody's."""
    found = {}
    for table in metadata.sorted_tables:
        words = {column.name for column in table.columns if keeps_words(column)}
        left = words - erased(table, personal) - nobodys.get(table.name, set())
        if left:
            found[table.name] = left
    return found


def erased(table: Table, personal: Personal) -> set[str]:
    """Columns of a table that go, whichever of its declarations a row is under."""
    everything = set(table.columns.keys())
    of_table = [held for held in personal.whole if held.columns is table or held.columns.name == table.name]
    gone = [everything if held.erased is DELETE else set(held.erased) for held in of_table]  # type: ignore[arg-type]
    return set.intersection(*gone) if gone else set()


@pytest.mark.parametrize("name", SERVICES)
def test_every_text_is_somebodys_and_goes_or_is_nobodys(name: str) -> None:
    made = service(name)
    assert unclassified(made.metadata, made.personal, {**EVERYWHERE, **NOBODYS[name]}) == {}


@pytest.mark.parametrize("name", SERVICES)
def test_nothing_is_listed_that_is_not_there(name: str) -> None:
    tables = service(name).metadata.tables
    listed = {(table, column) for table, columns in NOBODYS[name].items() for column in columns}
    assert {(table, column) for table, column in listed if column not in tables[table].columns} == set()


@pytest.mark.parametrize("name", SERVICES)
def test_every_table_with_a_person_in_it_is_exported(name: str) -> None:
    made = service(name)
    with_people = {
        table.name
        for table in made.metadata.sorted_tables
        if any(column.name in OWNERS and isinstance(column.type, Uuid) for column in table.columns)
    }
    not_exported = {"erasures"}  # nobody is left to read it
    assert with_people - {held.columns.name for held in made.personal.whole} == not_exported


@pytest.mark.parametrize("name", SERVICES)
def test_no_seal_or_hash_is_exported(name: str) -> None:
    """They say nothing to anybody, and JSON has no place for them."""
    shown = {
        (held.columns.name, column.name)
        for held in service(name).personal.whole
        for column in held.columns.columns
        if isinstance(column.type, LargeBinary) and column.name not in held.hidden
    }
    assert shown == set()


def test_control_a_new_column_is_noticed() -> None:
    made = service("orders")
    metadata = MetaData()
    for table in made.metadata.sorted_tables:
        table.to_metadata(metadata)
    metadata.tables["bookings"].append_column(Column("wishes", Text))
    Table("needs_copy", metadata, Column("title", Text))
    found = unclassified(metadata, made.personal, {**EVERYWHERE, **NOBODYS["orders"]})
    assert found == {"bookings": {"wishes"}, "needs_copy": {"title"}}


def test_every_text_in_an_event_about_a_person_goes_or_is_nobodys() -> None:
    """A title is an offer's, except where the fact is about a need: then it is its author's."""
    for kind in EVENT_TYPES.values():
        if not kind.type.startswith("linli.") or "person_id" not in kind.model_fields:
            continue
        texts = {name for name, field in kind.model_fields.items() if field.annotation is str}
        own = {"title", "reason"} if "need_id" in kind.model_fields else set()
        assert texts & own == kind.own_words, kind.type
        assert texts - own <= NOBODYS_FIELDS | {"title", "reason"}, kind.type
