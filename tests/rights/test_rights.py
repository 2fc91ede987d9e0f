"""Every route × everybody who might call it × what is somebody else's × fields that a body does not have."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.responses import JSONResponse
from starlette.types import ASGIApp

from chassis import scopes
from chassis.api import Api
from chassis.auth import PUBLIC
from chassis.telemetry import HEALTH_PATHS
from chassis.tokens import Principal, Signer, generate_key
from services.orders import booking_views
from tests.chassis.parts import must_fail
from tests.harness import Databases
from tests.rights.hostile import DOCUMENT, NAMES, SENTINEL, with_foreign_fields
from tests.rights.matrix import EVERYBODY, LOOK_UPS, PRIVATE, ROWS, Row
from tests.rights.scene import NOBODY, PEOPLE, PHONE, Scene, neighbourhood

REFUSED = {401, 403, 404}
AT_ONCE = 8


@pytest.fixture(scope="module")
async def scene(databases: Databases) -> AsyncIterator[Scene]:
    async with neighbourhood(databases) as made:
        made.things["phone"] = PHONE
        yield made


def routes_of(apps: Iterable[FastAPI]) -> set[str]:
    """Every route that the services have, as the matrix names them."""
    found = set()
    for app in apps:
        for route in iter_route_contexts(app.routes):
            path = str(route.path)
            if path not in HEALTH_PATHS:
                found |= {f"{method} {path.removeprefix('/api/v1')}" for method in route.methods or ()}
    return found


def operation(row: Row) -> Mapping[str, Any]:
    """What the OpenAPI document says of the row's route."""
    found: Mapping[str, Any] = DOCUMENT["paths"]["/api/v1" + row.route.partition(" ")[2]][row.method.lower()]
    return found


def policy(row: Row) -> str:
    return str(operation(row)["x-linli-policy"])


def owner(scene: Scene, row: Row) -> FastAPI:
    """The service that the row's route belongs to."""
    return scene.stack.apps[operation(row)["x-linli-service"]]


async def all_of(checks: Iterable[Any]) -> list[str]:
    """What the checks found, a few of them at a time."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one(check: Any) -> str | None:
        async with places:
            found: str | None = await check
            return found

    return [found for found in await asyncio.gather(*map(one, checks)) if found]


async def refuses(scene: Scene, row: Row, who: str, at: ASGIApp) -> str | None:
    """None when somebody is refused what the row asks for; else what happened instead."""
    answer = await scene.ask(who, row.method, row.path, row.body, query=row.query, at=at)
    expected = REFUSED if who != NOBODY else {404} if policy(row) == "public" else {401}
    return None if answer.status_code in expected else f"{who}: {row.route} {row.body}: {answer.status_code}"


async def no_intrusion(scene: Scene, rows: Sequence[Row]) -> None:
    """Each service by itself refuses everybody whom the rows do not let in, and the gateway does as its service."""
    asked = [(row, who) for row in rows for who in sorted(EVERYBODY - row.may)]
    at_the_services = [refuses(scene, row, who, owner(scene, row)) for row, who in asked]
    outside = {NOBODY, "resident"}
    at_the_gateway = [refuses(scene, row, who, scene.stack.gateway) for row, who in asked if who in outside]
    assert await all_of(at_the_services + at_the_gateway) == []


def every_route_is_in_the_matrix(apps: Iterable[FastAPI]) -> None:
    routes, listed = routes_of(apps), {row.route for row in ROWS} | set(LOOK_UPS)
    assert sorted(routes - listed) == [], "say in tests/rights/matrix.py who may call it"
    assert sorted(listed - routes) == [], "there is no such route"


def test_every_route_is_in_the_matrix(scene: Scene) -> None:
    every_route_is_in_the_matrix(scene.stack.apps.values())


async def test_control_a_route_that_is_not_is_noticed(scene: Scene) -> None:
    api = Api("notes")

    @api.get("/notes", policy=PUBLIC)
    async def read_notes() -> str:
        return "a note"

    app = FastAPI()
    app.router.routes.extend(api.router.routes)

    async def check() -> None:
        every_route_is_in_the_matrix([*scene.stack.apps.values(), app])

    await must_fail(check)


async def test_whoever_may_not_is_refused_and_nothing_happens(scene: Scene) -> None:
    before = await scene.settled()
    await no_intrusion(scene, ROWS)
    assert await scene.settled() == before


ROLES_ONLY = [row for row in ROWS if row.route in {"GET /roles", "GET /points/ledger/check"}]
BOOKING = [row for row in ROWS if row.route == "GET /bookings/{booking_id}"]
PARTS = [row for row in ROWS if row.route == "GET /sessions/{session_id}/bookings"]


async def test_control_a_policy_that_takes_every_role_lets_somebody_in(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Principal, "has", lambda *_: True)
    await must_fail(no_intrusion, scene, ROLES_ONLY)


async def test_control_a_role_that_holds_everywhere_lets_the_neighbours_in(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def everywhere(*_: object) -> bool:
        return True

    monkeypatch.setattr(scopes, "covers", everywhere)
    await must_fail(no_intrusion, scene, PARTS)


async def test_control_a_handler_that_shows_anothers_thing_is_noticed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def anybody(*_: object) -> bool:
        return True

    monkeypatch.setattr(booking_views, "runs", anybody)
    await must_fail(no_intrusion, scene, BOOKING)


def other_tokens(scene: Scene) -> Iterator[tuple[str, str]]:
    """Tokens that are good for something else, or for nothing."""
    now = datetime.now(UTC)
    yield "a service's", scene.lookup_signers["notify"].service_token("notify", "contacts", now)
    somebody = scene.people["operator"]
    yield "somebody else's", Signer(generate_key()).access_token(somebody.id, somebody.id, somebody.grants, now)


@pytest.mark.parametrize("directly", [True, False], ids=["service", "gateway"])
async def test_a_services_token_opens_no_route_of_people(scene: Scene, directly: bool) -> None:
    async def check(row: Row, name: str, token: str) -> str | None:
        at = owner(scene, row) if directly else scene.stack.gateway
        answer = await scene.ask(NOBODY, row.method, row.path, row.body, query=row.query, token=token, at=at)
        return None if answer.status_code == 401 else f"{name}: {row.route}: {answer.status_code}"

    with_tokens = {row.route: row for row in ROWS if policy(row) != "sign_in"}.values()
    found = await all_of(check(row, *token) for row in with_tokens for token in other_tokens(scene))
    assert found == []


async def test_a_look_up_opens_to_its_own_scope_only_and_never_at_the_gateway(scene: Scene) -> None:
    members, now = scene.stack.apps["members"], datetime.now(UTC)
    scene.things["challenge"] = scene.things["ann"]
    for route, scope in LOOK_UPS.items():
        row = Row(route, query={"ids": "{ann}"})
        tokens = {
            f"{service} for {other}": signer.service_token(service, other, now)
            for service, signer in scene.lookup_signers.items()
            for other in LOOK_UPS.values()
            if other != scope
        }
        tokens |= {who: scene.token(who) for who in PEOPLE}
        for name, token in tokens.items():
            answer = await scene.ask(NOBODY, row.method, row.path, query=row.query, at=members, token=token)
            assert answer.status_code == 401, f"{name}: {route}"
        right = scene.lookup_signers["notify"].service_token("notify", scope, now)
        opened = await scene.ask(NOBODY, row.method, row.path, query=row.query, at=members, token=right)
        assert opened.status_code == (404 if scope == "challenges" else 200)
        assert (await scene.ask(NOBODY, row.method, row.path, at=members)).status_code == 401
        assert (await scene.ask(NOBODY, row.method, row.path, query=row.query, token=right)).status_code == 404


# What somebody adds to the address to see what is another's.
TRIED_QUERY = dict.fromkeys(("person_id", "subject_id", "claimant_id", "user_id", "owner_id", "sub"), "{ann}")


async def leaks(scene: Scene, rows: Iterable[Row]) -> list[str]:
    """Whatever is private and stands in an answer to somebody who may read the page, but not that."""

    async def check(row: Row, who: str) -> str | None:
        query = {**TRIED_QUERY, **row.query} if "/me" in row.path else row.query
        answer = await scene.ask(who, row.method, row.path, query=query)
        seen = [name for name, may in PRIVATE.items() if who not in may and scene.things[name] in answer.text]
        if answer.status_code != (row.status or 200):
            return f"{who}: {row.route}: {answer.status_code}"
        return f"{who}: {row.route}: {seen}" if seen else None

    return await all_of(check(row, who) for row in rows if row.method == "GET" for who in sorted(row.may))


async def no_leak(scene: Scene, rows: Iterable[Row]) -> None:
    assert await leaks(scene, rows) == []


async def test_no_page_shows_what_is_anothers(scene: Scene) -> None:
    await no_leak(scene, [row for row in ROWS if not row.endless])


async def test_control_a_page_that_shows_it_is_noticed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRIVATE, "booking", frozenset[str]())
    await must_fail(no_leak, scene, BOOKING)


async def misses(scene: Scene, rows: Iterable[Row], at: ASGIApp | None = None) -> list[str]:
    """Fields that a body does not have, and that are not named in the refusal of a body with them."""

    async def check(row: Row, body: Any, foreign: set[str]) -> str | None:
        answer = await scene.ask(row.by, row.method, row.path, body, query=row.query, at=at)
        if answer.status_code != 422:
            return f"{row.route}: {answer.status_code}"
        taken = foreign - {error["field"] for error in answer.json()["errors"]}
        return f"{row.route}: {sorted(taken)}" if taken else None

    with_body = [row for row in rows if row.body is not None]
    return await all_of(
        check(row, body, foreign) for row in with_body for body, foreign in with_foreign_fields(row.route, row.body)
    )


async def no_foreign_field(scene: Scene, at: ASGIApp | None = None) -> None:
    assert await misses(scene, ROWS, at) == []


async def test_a_field_that_a_body_does_not_have_is_refused_by_name(scene: Scene) -> None:
    before = await scene.settled()
    await no_foreign_field(scene)
    assert await scene.settled() == before


async def test_control_a_route_that_takes_any_field_is_noticed(scene: Scene) -> None:
    await must_fail(no_foreign_field, scene, JSONResponse({}, 201))


async def test_whoever_may_does_and_what_else_they_send_has_no_effect(scene: Scene) -> None:
    """Where a route takes no body, one is sent that names every field. The last test: it changes the scene."""
    found = []
    for row in (row for row in ROWS if not row.endless):
        body = dict.fromkeys(NAMES, SENTINEL) if row.body is None and row.method != "GET" else row.body
        answer = await scene.ask(row.by, row.method, row.path, body, query=row.query)
        as_expected = answer.is_success if row.status is None else answer.status_code == row.status
        if not as_expected or SENTINEL in answer.text:
            found.append(f"{row.by}: {row.route} {row.body}: {answer.status_code} {answer.text}")
    assert found == []
    await scene.settled()
    assert await scene.tables_with(SENTINEL) == []
