"""What was once on the bus can always be read, and no fact carries contact data, a code or a person's name."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args
from uuid import uuid4

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_structured_event
from pydantic import BaseModel, ValidationError

import contracts
from contracts.event import EVENT_TYPES, Envelope, Event, UnknownEventType, parse
from contracts.members import PersonRegistered
from tests.harness import Clock

for found in pkgutil.iter_modules(contracts.__path__):
    importlib.import_module(f"contracts.{found.name}")

GOLDEN = Path(contracts.__path__[0]) / "golden"
FILES = sorted(GOLDEN.glob("*.json"))
FORBIDDEN = re.compile(
    r"phone|mobile|email|contact|wechat|openid|password|secret|token|code|otp|name|address|birth|ident"
)
# Names and addresses of areas, organisations and centres are public.
ALLOWED = {
    ("AreaChanged", "name"),
    ("AreaChanged", "name_en"),
    ("OrganisationRegistered", "name"),
    ("CentreOpened", "name"),
    ("CentreOpened", "address"),
}
PRODUCERS = {"members", "catalog", "orders", "points", "notify"}


def declared() -> list[type[Event]]:
    return [kind for _, kind in sorted(EVENT_TYPES.items())]


def fields(model: type[BaseModel]) -> Iterator[tuple[str, str]]:
    for name, field in model.model_fields.items():
        yield model.__name__, name
        for inner in (field.annotation, *get_args(field.annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from fields(inner)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_golden_file_is_read_and_written_back_the_same(path: Path) -> None:
    document = path.read_text(encoding="utf-8")
    envelope = parse(document)
    assert json.loads(envelope.to_json()) == json.loads(document)
    assert f"{envelope.type}.json" == path.name
    assert parse(document.encode()) == envelope


@pytest.mark.parametrize("kind", declared(), ids=lambda kind: kind.type)
def test_every_type_has_its_golden_file_its_producer_and_its_key(kind: type[Event]) -> None:
    assert (GOLDEN / f"{kind.type}.json").exists(), "run make generate"
    assert kind.producer() in PRODUCERS
    assert kind.__module__ == f"contracts.{kind.producer()}"
    assert kind.key in kind.model_fields
    assert kind.routing_key() == kind.type.removeprefix("linli.")
    assert kind.__doc__


def test_no_golden_file_is_of_an_unknown_type() -> None:
    assert {path.stem for path in FILES} == set(EVENT_TYPES)
    assert len(FILES) >= 47


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_official_sdk_reads_it_as_a_cloud_event(path: Path) -> None:
    document = json.loads(path.read_text(encoding="utf-8"))
    message = HTTPMessage({"content-type": "application/cloudevents+json"}, path.read_bytes())
    event = from_structured_event(message)
    attributes = event.get_attributes()
    assert attributes["type"] == document["type"]
    assert attributes["id"] == document["id"]
    assert attributes["source"].startswith("/linli/")
    assert attributes["partitionkey"] == document["partitionkey"] == document["subject"]
    assert re.fullmatch(r"\d{10}", attributes["sequence"])
    assert attributes["time"].isoformat() == document["time"].replace("Z", "+00:00")
    assert event.get_data() == document["data"]
    for name in attributes:
        assert re.fullmatch("[a-z0-9]{1,20}", name), "as CloudEvents wants attributes to be named"


@pytest.mark.parametrize("kind", declared(), ids=lambda kind: kind.type)
def test_no_field_suggests_contact_data_a_code_or_a_persons_name(kind: type[Event]) -> None:
    suspicious = {pair for pair in fields(kind) if FORBIDDEN.search(pair[1])}
    assert suspicious <= ALLOWED


def test_control_such_a_field_is_seen() -> None:
    class Leak(BaseModel):
        phone_masked: str

    class Letter(BaseModel):
        leaks: list[Leak]
        display_name: str | None

    assert {name for _, name in fields(Letter) if FORBIDDEN.search(name)} == {"phone_masked", "display_name"}


def document(**changes: Any) -> str:
    wire = json.loads(Envelope(uuid4(), PersonRegistered(person_id=uuid4(), locale="en"), 3, Clock()()).to_json())
    return json.dumps({name: value for name, value in (wire | changes).items() if value is not ...})


def test_an_optional_field_that_a_later_release_adds_is_ignored() -> None:
    data = {"person_id": str(uuid4()), "locale": "en", "nickname_colour": "green"}
    envelope = parse(document(data=data, traceparent="00-abc-def-01"))
    assert envelope.data == PersonRegistered(person_id=data["person_id"], locale="en")  # type: ignore[arg-type]


def test_a_type_that_this_release_does_not_know_is_refused_by_name() -> None:
    with pytest.raises(UnknownEventType, match="person_married"):
        parse(document(type="linli.members.person_married.v1"))
    with pytest.raises(UnknownEventType, match="v2"):
        parse(document(type="linli.members.person_registered.v2"))


@pytest.mark.parametrize(
    "changes",
    [
        {"specversion": "0.3"},
        {"id": "1"},
        {"id": ...},
        {"type": ...},
        {"source": ...},
        {"time": "yesterday"},
        {"time": "2026-01-02T03:04:05"},
        {"partitionkey": ""},
        {"sequence": "3"},
        {"sequence": 3},
        {"sequence": "-000000003"},
        {"data": ...},
        {"data": []},
        {"data": {}},
        {"data": {"person_id": "1", "locale": "en"}},
        {"data": {"person_id": None, "locale": "en"}},
    ],
    ids=str,
)
def test_an_attribute_that_is_missing_or_wrong_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        parse(document(**changes))


def test_sequences_sort_as_text_as_they_do_as_numbers() -> None:
    numbers = [1, 2, 9, 10, 99, 1_000_000_000, 9_999_999_999]
    written = [json.loads(Envelope(uuid4(), fact(), number, Clock()()).to_json())["sequence"] for number in numbers]
    assert written == sorted(written)
    for impossible in (-1, 10_000_000_000):
        with pytest.raises(ValidationError):
            Envelope(uuid4(), fact(), impossible, Clock()()).to_json()


def fact() -> PersonRegistered:
    return PersonRegistered(person_id=uuid4(), locale="en")


def test_a_request_id_is_written_only_where_there_is_one() -> None:
    assert "requestid" not in json.loads(Envelope(uuid4(), fact(), 1, Clock()()).to_json())
    assert json.loads(Envelope(uuid4(), fact(), 1, Clock()(), "abc").to_json())["requestid"] == "abc"


@pytest.mark.parametrize(
    "kind", ["linli.members.person_registered.v1", "members.x.v1", "linli.members.X.v1", "linli.a.b"]
)
def test_a_type_is_declared_once_and_in_its_form(kind: str) -> None:
    with pytest.raises(TypeError):
        type("Another", (Event,), {}, type=kind, key="id")
