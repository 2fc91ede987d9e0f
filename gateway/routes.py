"""The routing table: the merged OpenAPI document, read once. A path that is not in it reaches no service."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chassis.errors import MethodNotAllowed, NotFound

OPENAPI_FILE = Path(__file__).parent.parent / "docs" / "openapi.json"
PARAMETER = re.compile(r"\{[a-z_]+\}")
KEY_HEADER = "idempotency-key"


@dataclass(frozen=True)
class Route:
    """One operation: its owner, who may call it, what the gateway adds to its answer, and whether it keeps keys."""

    template: str
    service: str
    policy: str
    compose: str | None
    keyed: bool

    @property
    def public(self) -> bool:
        """Whether it may be called without a token."""
        return self.policy in {"public", "sign_in"}


class RoutingTable:
    """Finds the operation that a method and a path mean. A fixed segment goes before a parameter."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._fixed: dict[str, dict[str, Route]] = {}
        self._patterns: dict[tuple[int, str], list[tuple[re.Pattern[str], dict[str, Route]]]] = {}
        for template, operations in document["paths"].items():
            routes = {
                method.upper(): Route(
                    template,
                    operation["x-linli-service"],
                    operation["x-linli-policy"],
                    operation.get("x-linli-compose"),
                    any(parameter["name"].lower() == KEY_HEADER for parameter in operation.get("parameters", [])),
                )
                for method, operation in operations.items()
            }
            if "{" not in template:
                self._fixed[template] = routes
            else:
                if "{" in _family(template)[1]:
                    raise ValueError(f"no path is found by a parameter that comes first: {template}")
                pattern = re.compile("[^/]+".join(re.escape(part) for part in PARAMETER.split(template)))
                self._patterns.setdefault(_family(template), []).append((pattern, routes))

    def match(self, method: str, path: str) -> Route:
        """The operation; NotFound for a path, MethodNotAllowed for a method that is not in the document."""
        routes = self._fixed.get(path) or self._by_pattern(path)
        if routes is None:
            raise NotFound()
        route = routes.get("GET" if method == "HEAD" else method)
        if route is None:
            raise MethodNotAllowed(*sorted({*routes, "HEAD"} if "GET" in routes else routes))
        return route

    def _by_pattern(self, path: str) -> dict[str, Route] | None:
        for pattern, routes in self._patterns.get(_family(path), ()):
            if pattern.fullmatch(path):
                return routes
        return None


def _family(path: str) -> tuple[int, str]:
    """What paths of one template have in common: how many segments there are, and the first after `/api/v1/`."""
    segments = path.split("/")
    return len(segments), segments[3] if len(segments) > 3 else ""


def load_document() -> dict[str, Any]:
    """The committed OpenAPI document."""
    document: dict[str, Any] = json.loads(OPENAPI_FILE.read_text(encoding="utf-8"))
    return document
