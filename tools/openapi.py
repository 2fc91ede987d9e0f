"""The merged OpenAPI 3.1 document of the door."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chassis.service import Service, describe

PROBLEM = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457. `type` is stable; `title` and `detail` are in the language of the request.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "examples": ["urn:linli:problem:sold_out"]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "description": "For bad input: each field and what was expected.",
            "items": {
                "type": "object",
                "required": ["field", "expected"],
                "properties": {"field": {"type": "string"}, "expected": {"type": "string"}},
            },
        },
    },
}
PROBLEM_RESPONSE = {
    "description": "A refusal",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
METHODS = frozenset({"get", "post", "patch", "put", "delete"})


class Clash(Exception):
    """Two services describe different things under one name."""


def merged(services: Sequence[Service]) -> dict[str, Any]:
    """All routes, each with `x-linli-service`; paths and schemas in alphabetical order."""
    paths: dict[str, dict[str, Any]] = {}
    schemas: dict[str, Any] = {"Problem": PROBLEM}
    for service in services:
        document = describe(service).openapi()
        for path, operations in document["paths"].items():
            for method in METHODS & operations.keys():
                _put(
                    paths.setdefault(path, {}), method, _operation(service.name, operations[method]), f"{method} {path}"
                )
        for name, schema in document.get("components", {}).get("schemas", {}).items():
            if name not in {"HTTPValidationError", "ValidationError"}:
                _put(schemas, name, schema, f"schema {name} of {service.name}")
    return {
        "openapi": "3.1.0",
        "info": {"title": "Linli 邻里", "version": "1", "description": "Neighbourhood service marketplace."},
        "paths": {path: dict(sorted(paths[path].items())) for path in sorted(paths)},
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _operation(service: str, operation: Mapping[str, Any]) -> dict[str, Any]:
    responses = {status: body for status, body in operation["responses"].items() if status != "422"}
    public = operation["x-linli-policy"] in {"public", "sign_in"}
    described: dict[str, Any] = {**operation}
    if "parameters" in operation:
        described["parameters"] = [_parameter(parameter) for parameter in operation["parameters"]]
    return {
        **described,
        "x-linli-service": service,
        "security": [{}, {"token": []}] if public else [{"token": []}],
        "responses": {**responses, "default": PROBLEM_RESPONSE},
    }


def _parameter(parameter: Mapping[str, Any]) -> Mapping[str, Any]:
    """The key is declared as optional in code only so that its absence is answered with 400 and a text of its own."""
    return {**parameter, "required": True} if parameter["name"] == "Idempotency-Key" else parameter


def _put(into: dict[str, Any], name: str, value: Any, what: str) -> None:
    if name in into and into[name] != value:
        raise Clash(f"{what} is described already, and differently")
    into[name] = value
