"""Fields that a body does not have: every name that stands in any answer of the product, and what attackers try."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.routes import load_document

DOCUMENT = load_document()
SCHEMAS: Mapping[str, Any] = DOCUMENT["components"]["schemas"]
# Looked for in the databases afterwards.
SENTINEL = "c0ffee00-dead-4bad-8bad-c0ffee00dead"
TRIED = {
    "is_admin",
    "admin",
    "user_id",
    "owner_id",
    "actor",
    "password_hash",
    "sequence",
    "deleted",
    "__proto__",
    "$set",
}
NAMES = frozenset({name for schema in SCHEMAS.values() for name in schema.get("properties", {})} | TRIED)


def with_foreign_fields(route: str, body: Any) -> Iterator[tuple[Any, set[str]]]:
    """The body once for each object in it, that object with every name that is not its own; and the paths of those."""
    method, _, path = route.partition(" ")
    operation = DOCUMENT["paths"]["/api/v1" + path][method.lower()]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    for where, own in _objects(body, schema, ()):
        foreign = sorted(NAMES - own)
        yield _put(body, where, foreign), {".".join(("body", *map(str, where), name)) for name in foreign}


def _objects(
    body: Any, schema: Mapping[str, Any], where: tuple[Any, ...]
) -> Iterator[tuple[tuple[Any, ...], set[str]]]:
    """Every object within the body, with the names that its schema has."""
    schema = _resolved(schema, body)
    if isinstance(body, dict):
        properties = schema["properties"]
        yield where, set(properties)
        for name, value in body.items():
            yield from _objects(value, properties[name], (*where, name))
    elif isinstance(body, list):
        for number, value in enumerate(body):
            yield from _objects(value, schema["items"], (*where, number))


def _resolved(schema: Mapping[str, Any], body: Any) -> Mapping[str, Any]:
    kind = "object" if isinstance(body, dict) else "array" if isinstance(body, list) else None
    options = [_named(option) for option in schema.get("anyOf", [schema])]
    return next((option for option in options if option.get("type") == kind), options[0])


def _named(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    return SCHEMAS[name] if name else schema


def _put(body: Any, where: tuple[Any, ...], names: list[str]) -> Any:
    if not where:
        return {**body, **dict.fromkeys(names, SENTINEL)}
    if isinstance(body, list):
        return [_put(value, where[1:], names) if number == where[0] else value for number, value in enumerate(body)]
    return {**body, where[0]: _put(body[where[0]], where[1:], names)}
