"""One example document for each fact and version, so that what was once on the bus can always be read."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin
from uuid import NAMESPACE_URL, UUID, uuid5

from pydantic import BaseModel

from contracts.event import EVENT_TYPES, Envelope, Event

FOLDER = Path(__file__).parent.parent / "contracts" / "golden"
MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def missing() -> dict[str, Any]:
    """Example documents, by file name, for the facts that have none yet."""
    return {
        f"{name}.json": json.loads(example(fact).to_json())
        for name, fact in sorted(EVENT_TYPES.items())
        if not (FOLDER / f"{name}.json").exists()
    }


def example(fact: type[Event]) -> Envelope[Event]:
    """An envelope with a value in every field, the same at every call."""
    data = fact.model_validate(_fields(fact))
    return Envelope(uuid5(NAMESPACE_URL, fact.type), data, 7, MOMENT, requestid="0123456789abcdef")


def _fields(model: type[BaseModel]) -> dict[str, Any]:
    return {name: _value(name, field.annotation) for name, field in model.model_fields.items()}


def _value(name: str, kind: Any) -> Any:
    origin = get_origin(kind)
    if origin is UnionType or NoneType in get_args(kind):
        return _value(name, next(option for option in get_args(kind) if option is not NoneType))
    if origin is Literal:
        return get_args(kind)[0]
    if origin is list:
        return [_value(name, get_args(kind)[0])]
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return _fields(kind)
    simple: dict[Any, Any] = {UUID: uuid5(NAMESPACE_URL, name), str: f"{name} 邻里", int: 3, bool: True}
    return simple.get(kind, MOMENT)
