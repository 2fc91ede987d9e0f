"""Every route says who may call it, and nobody else may."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from chassis.api import Api, RouteWithoutPolicy, require_policies
from chassis.auth import PUBLIC, roles
from chassis.service import describe
from chassis.tokens import Grant
from contracts.members import RoleRevoked
from tests.chassis.toy import SERVICE
from tests.harness import Databases, Person, coordinator, operator, run_service

ANN = Person()


@pytest.mark.parametrize(
    ("method", "path", "policy"),
    [
        ("GET", "/notes", "public"),
        ("POST", "/sign-in", "sign_in"),
        ("POST", "/notes", "signed_in"),
        ("GET", "/secret", "roles"),
        ("GET", "/internal/contacts", "service"),
    ],
)
async def test_who_may_call_which_route(databases: Databases, method: str, path: str, policy: str) -> None:
    allowed = {
        "public": {"nobody", "ann", "coordinator", "operator"},
        "sign_in": {"nobody", "ann", "coordinator", "operator"},
        "signed_in": {"ann", "coordinator", "operator"},
        "roles": {"operator"},
        "service": set(),
    }[policy]
    people = {"nobody": None, "ann": ANN, "coordinator": coordinator(uuid4()), "operator": operator()}
    async with run_service(SERVICE, databases) as toy:
        body = {"said": "hi"} if (method, path) == ("POST", "/notes") else None
        for name, person in people.items():
            status = (await toy.request(method, path, person=person, json=body)).status_code
            if name in allowed:
                assert status in {200, 201}, name
            else:
                assert status == (401 if person is None or policy == "service" else 403), name


async def test_a_bad_token_is_refused_on_a_public_route_and_does_not_keep_anybody_from_signing_in(
    databases: Databases,
) -> None:
    async with run_service(SERVICE, databases) as toy:
        old = {"Authorization": f"Bearer {toy.token(ANN)}"}
        toy.clock.advance(hours=1)
        assert (await toy.client.get("/api/v1/notes", headers=old)).status_code == 401
        assert (await toy.client.post("/api/v1/sign-in", headers=old)).status_code == 200


async def test_a_token_that_was_cut_off_is_refused_on_every_kind_of_route(databases: Databases) -> None:
    async with run_service(SERVICE, databases) as toy:
        person = operator()
        await toy.receive(RoleRevoked(role_id=uuid4(), person_id=person.id, role="operator"))
        for method, path in (("GET", "/notes"), ("POST", "/notes"), ("GET", "/secret")):
            assert (await toy.request(method, path, person=person)).status_code == 401


async def test_a_role_of_another_name_or_in_an_organisation_is_looked_at_by_name_only(databases: Databases) -> None:
    async with run_service(SERVICE, databases) as toy:
        for role, expected in (("operator", 200), ("operators", 403), ("", 403), ("Operator", 403)):
            person = Person(grants=(Grant(role=role),))
            assert (await toy.get("/secret", person=person)).status_code == expected


def plain(_: Request) -> Response:
    return PlainTextResponse("hello")


@pytest.mark.parametrize("how", ["app", "router", "starlette", "mounted"])
def test_a_route_declared_past_api_fails_the_build(how: str) -> None:
    app, api = FastAPI(), Api("things")
    api.get("/things", policy=PUBLIC)(lambda: "things")
    if how == "app":
        app.get("/api/v1/open")(lambda: "open")
    elif how == "router":
        api.router.get("/open")(lambda: "open")
    elif how == "starlette":
        app.add_route("/open", plain)
    else:
        app.mount("/open", FastAPI())
    app.include_router(api.router)
    with pytest.raises(RouteWithoutPolicy):
        require_policies(app, except_paths=frozenset({"/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc"}))


def test_a_service_with_such_a_route_is_not_built() -> None:
    api = Api("things")
    api.router.get("/things")(lambda: "things")
    with pytest.raises(RouteWithoutPolicy):
        describe(replace(SERVICE, apis=[api]))


def test_the_document_names_each_routes_policy() -> None:
    paths = describe(SERVICE).openapi()["paths"]
    assert paths["/api/v1/notes"]["post"]["x-linli-policy"] == "signed_in"
    assert paths["/api/v1/notes"]["get"]["x-linli-policy"] == "public"
    assert paths["/api/v1/secret"]["get"]["x-linli-policy"] == "roles:operator"
    assert not [path for path in paths if path.startswith("/internal")]
    assert roles("a", "b").name == "roles:a,b"
