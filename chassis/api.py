"""How routes are written: a router that demands a policy, strict bodies, pages, ETags.

api = Api("claims")

@api.post("/products/{product_id}/claims", policy=SIGNED_IN, status_code=201)
async def claim_product(product_id: UUID, body: NewClaim, …) -> ClaimView: ...
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

import orjson
from annotated_types import GroupedMetadata
from fastapi import APIRouter, Depends, FastAPI, Header, Query, Request, Response
from fastapi.routing import APIRoute, iter_route_contexts
from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints
from pydantic_core import PydanticCustomError

from chassis.arrivals import Arrivals
from chassis.auth import Policy
from chassis.db import Database
from chassis.direct import handed_directly
from chassis.errors import Changed, InvalidInput
from chassis.headers import CLIENT_ADDRESS_HEADER
from chassis.i18n import Locale, negotiate
from chassis.world import World

PREFIX = "/api/v1"
PAGE_MAX = 100
PAGE_DEFAULT = 20
# PostgreSQL's integer; every whole number that a body may carry stays within it.
INTEGER_MAX = 2_147_483_647

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class Api:
    """The routes of one topic. Paths are below `/api/v1`, those of `internal=True` below `/internal`."""

    def __init__(self, topic: str, *, internal: bool = False) -> None:
        self.router = APIRouter(prefix="/internal" if internal else PREFIX, tags=[topic])
        self._internal = internal

    def get(self, path: str, *, policy: Policy, **options: Any) -> Callable[[F], F]:
        return self._route("GET", path, policy, options)

    def post(self, path: str, *, policy: Policy, **options: Any) -> Callable[[F], F]:
        return self._route("POST", path, policy, options)

    def patch(self, path: str, *, policy: Policy, **options: Any) -> Callable[[F], F]:
        return self._route("PATCH", path, policy, options)

    def delete(self, path: str, *, policy: Policy, **options: Any) -> Callable[[F], F]:
        return self._route("DELETE", path, policy, options)

    def _route(self, method: str, path: str, policy: Policy, options: dict[str, Any]) -> Callable[[F], F]:
        extra = {"x-linli-policy": policy.name, **options.pop("openapi_extra", {})}

        def declare(endpoint: F) -> F:
            self.router.add_api_route(
                path,
                handed_directly(endpoint),
                methods=[method],
                route_class_override=_guarded_by(policy),
                openapi_extra=extra,
                include_in_schema=not self._internal,
                **options,
            )
            return endpoint

        return declare


def _guarded_by(policy: Policy) -> type[APIRoute]:
    """The kind of route that asks the policy before anything of the request is read."""

    class GuardedRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            answer = super().get_route_handler()

            async def guarded(request: Request) -> Response:
                await policy.enforce(request)
                return await answer(request)

            return guarded

    return GuardedRoute


class RouteWithoutPolicy(Exception):
    """A route was declared past `Api`, so nothing says who may call it."""


def require_policies(app: FastAPI, *, except_paths: frozenset[str]) -> None:
    """Raise RouteWithoutPolicy for any route of the app that declares none."""
    for route in iter_route_contexts(app.routes):
        if route.path in except_paths:
            continue
        extra = route.openapi_extra if isinstance(route.original_route, APIRoute) else None
        if "x-linli-policy" not in (extra or {}):
            raise RouteWithoutPolicy(f"{route.path}: declare it with chassis.api.Api and a policy")


def _plain_text(value: str) -> str:
    """PostgreSQL stores no NUL and no lone surrogate, and no text of ours needs another control character."""
    if any((ord(c) < 32 and c not in "\n\r\t") or 0xD800 <= ord(c) <= 0xDFFF or ord(c) == 127 for c in value):
        raise PydanticCustomError("text_control", "text without control characters")
    return value


@dataclass(frozen=True)
class Words(GroupedMetadata):
    """Text from outside, `Annotated[str, Words(100)]`: trimmed, of bounded length, without control characters."""

    max_length: int
    min_length: int = 1

    def __iter__(self) -> Iterator[object]:
        yield StringConstraints(strip_whitespace=True, min_length=self.min_length, max_length=self.max_length)
        yield AfterValidator(_plain_text)


class Body(BaseModel):
    """Base of request bodies: a field that does not exist is an error, not ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Page(BaseModel, Generic[T]):
    """One page of a list; `next_cursor` leads to the next one, null on the last."""

    items: list[T]
    next_cursor: str | None = None


class PageRequest:
    """`?cursor=&limit=`; the cursor carries the sort key of the last item seen."""

    def __init__(self, cursor: str | None = None, limit: int = PAGE_DEFAULT) -> None:
        self.limit = limit
        self._cursor = cursor

    def after_id(self) -> UUID | None:
        """The id to go on after, for lists in the order of their ids."""
        return self.after(lambda key: UUID(str(key[0])))

    def after(self, read: Callable[[Sequence[Any]], T]) -> T | None:
        """The sort key to go on after, made by `read` from the cursor's parts; InvalidInput for a foreign cursor."""
        if self._cursor is None:
            return None
        try:
            parts = json.loads(base64.urlsafe_b64decode(self._cursor.encode()))
            if not isinstance(parts, list):
                raise TypeError("a cursor is a list")
            return read(parts)
        except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError) as error:
            raise InvalidInput(("query.cursor", "cursor", {})) from error


def cursor_of(*key: object) -> str:
    """The cursor that leads on after an item with this sort key."""
    return base64.urlsafe_b64encode(json.dumps(key, default=str).encode()).decode()


def page(rows: Sequence[T], limit: int, key: Callable[[T], tuple[object, ...]]) -> tuple[Sequence[T], str | None]:
    """Of `limit + 1` rows asked for: those of this page, and the cursor if there are more."""
    shown = rows[:limit]
    return shown, cursor_of(*key(shown[-1])) if len(rows) > limit else None


async def _page_request(
    cursor: Annotated[str | None, Query(max_length=500)] = None,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = PAGE_DEFAULT,
) -> PageRequest:
    # Not the class itself: FastAPI would call it in a thread.
    return PageRequest(cursor, limit)


Paging = Annotated[PageRequest, Depends(_page_request)]


def json_answer(content: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    """The content as it is, for answers read so often that a model's making and checking would cost more than they do.

    The route declares the model all the same (`response_model`), and a test holds the answer against it.
    """
    body = orjson.dumps(content, option=orjson.OPT_UTC_Z)
    return Response(body, headers=headers, media_type="application/json")


def etag(version: int) -> dict[str, str]:
    """The response header for a thing of this version."""
    return {"ETag": f'"{version}"'}


async def _if_match(if_match: Annotated[str | None, Header(max_length=200)] = None) -> str | None:
    return if_match


IfMatch = Annotated[str | None, Depends(_if_match)]


def require_match(if_match: str | None, version: int) -> None:
    """Raise Changed when the request names a version and it is not this one."""
    if if_match is None or if_match.strip() == "*":
        return
    if etag(version)["ETag"] not in {part.strip().removeprefix("W/") for part in if_match.split(",")}:
        raise Changed()


async def _locale(request: Request) -> Locale:
    return negotiate(request.headers.get("accept-language"))


async def _client_address(request: Request) -> str:
    return request.headers.get(CLIENT_ADDRESS_HEADER.decode(), "unknown")


async def _db(request: Request) -> Database:
    db: Database = request.app.state.runtime.db
    return db


async def _arrivals(request: Request) -> Arrivals:
    arrivals: Arrivals = request.app.state.runtime.arrivals
    return arrivals


async def _world(request: Request) -> World:
    world: World = request.app.state.runtime.world
    return world


RequestLocale = Annotated[Locale, Depends(_locale)]
# Where the request comes from, as the gateway sees it; told to routes of the policy `sign_in` only.
ClientAddress = Annotated[str, Depends(_client_address)]
Db = Annotated[Database, Depends(_db)]
Arriving = Annotated[Arrivals, Depends(_arrivals)]
CurrentWorld = Annotated[World, Depends(_world)]
