"""The gateway by itself, before upstreams that the test makes."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from chassis.settings import Settings
from chassis.tokens import Signer, Verifier, generate_key
from chassis.world import World
from gateway.app import build_gateway
from gateway.compose import Names
from gateway.routes import Route, RoutingTable

SIGNER = Signer(generate_key())
PERSON, SESSION, AUTHOR = uuid4(), uuid4(), str(uuid4())


def operation(policy: str = "public", **extra: Any) -> dict[str, Any]:
    return {"x-linli-service": "orders", "x-linli-policy": policy, "tags": ["t"], **extra}


DOCUMENT = {
    "paths": {
        "/api/v1/things": {"get": operation(), "post": operation("signed_in")},
        "/api/v1/things/{thing_id}": {"get": operation()},
        "/api/v1/things/mine": {"get": operation("signed_in")},
        "/api/v1/things/{thing_id}/reviews": {"get": operation(**{"x-linli-compose": "names"})},
        "/api/v1/elsewhere": {"get": operation(**{"x-linli-service": "points"})},
        "/api/v1/auth/otp": {"post": operation("sign_in")},
    }
}


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with what it got."""
    request = Request(scope, receive)
    body = await request.body()
    headers = {"Set-Cookie": "a=b", "X-Secret": "s", "ETag": '"1"', "Server": "echo"}
    answer = {
        "path": request.url.path,
        "headers": dict(request.headers),
        "body": body.decode(),
        "items": [{"author_id": AUTHOR, "stars": 5}],
        "names": {},
    }
    await JSONResponse(answer, headers=headers)(scope, receive, send)


def gateway(upstream: ASGIApp = echo, members_status: int = 200, **settings: Any) -> httpx.AsyncClient:
    async def keys() -> dict[str, Any]:
        return SIGNER.public_keys()

    def members(request: httpx.Request) -> httpx.Response:
        ids = request.url.params.get_list("ids")
        return httpx.Response(members_status, json={"names": dict.fromkeys(ids, "居民甲")})

    world = World()
    client = httpx.AsyncClient(transport=httpx.MockTransport(members), base_url="http://members")
    app = build_gateway(
        DOCUMENT,
        {"orders": upstream},
        Verifier(keys, world.now),
        Names(client, Signer(generate_key())),
        Settings(**settings),
        world,
    )
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway")


def authorization() -> dict[str, str]:
    return {"Authorization": f"Bearer {SIGNER.access_token(PERSON, SESSION, [], World().now())}"}


async def test_only_named_headers_pass_in_both_directions() -> None:
    async with gateway() as door:
        sent = {"X-Person-Id": "x", "X-Forwarded-For": "1.2.3.4", "Cookie": "c=d", "If-Match": '"3"', **authorization()}
        answer = await door.get("/api/v1/things", headers=sent)
    passed = answer.json()["headers"]
    assert {"if-match", "authorization", "x-request-id"} <= passed.keys()
    assert not {"x-person-id", "x-forwarded-for", "cookie", "host", "user-agent"} & passed.keys()
    assert answer.headers["etag"] == '"1"'
    assert not {"set-cookie", "x-secret", "server"} & answer.headers.keys()


async def test_a_route_that_needs_a_token_is_refused_before_it_reaches_its_service() -> None:
    reached = []

    async def upstream(scope: Scope, receive: Receive, send: Send) -> None:
        reached.append(scope["path"])
        await echo(scope, receive, send)

    async with gateway(upstream) as door:
        assert (await door.post("/api/v1/things", json={})).status_code == 401
        assert (await door.get("/api/v1/things", headers={"Authorization": "Bearer x"})).status_code == 401
        assert reached == []
        assert (await door.post("/api/v1/things", json={}, headers=authorization())).status_code == 200
        assert reached == ["/api/v1/things"]


async def test_an_expired_token_in_the_header_keeps_nobody_from_signing_in() -> None:
    async with gateway() as door:
        answer = await door.post("/api/v1/auth/otp", json={}, headers={"Authorization": "Bearer expired"})
    assert answer.status_code == 200


async def test_a_service_that_is_not_there_is_said_to_be_unavailable() -> None:
    async with gateway() as door:
        answer = await door.get("/api/v1/elsewhere")
    assert answer.status_code == 503
    assert "retry-after" in answer.headers


@pytest.mark.parametrize("status", [200, 503])
async def test_the_door_is_ready_when_its_services_are(status: int) -> None:
    async def upstream(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["path"] == "/readyz"
        await JSONResponse({}, status)(scope, receive, send)

    async with gateway(upstream) as door:
        assert (await door.get("/readyz")).status_code == status


async def test_pages_are_completed_with_display_names() -> None:
    async with gateway() as door:
        answer = await door.get("/api/v1/things/7/reviews")
    assert answer.json()["names"] == {AUTHOR: "居民甲"}
    assert answer.headers["content-length"] == str(len(answer.content))


async def test_a_page_comes_without_names_when_members_does_not_answer() -> None:
    async with gateway(members_status=500) as door:
        answer = await door.get("/api/v1/things/7/reviews")
    assert answer.status_code == 200
    assert answer.json()["names"] == {}


async def test_who_asks_too_often_is_told_to_wait() -> None:
    async with gateway(request_limit="3/minute") as door:
        statuses = [(await door.get("/api/v1/things")).status_code for _ in range(5)]
        with_token = await door.get("/api/v1/things", headers=authorization())
    assert statuses == [200, 200, 200, 429, 429]
    assert with_token.status_code == 200


async def test_bad_tokens_and_unknown_paths_count_too() -> None:
    async with gateway(request_limit="3/minute") as door:
        forged = {"Authorization": "Bearer a.b.c"}
        statuses = [(await door.get("/api/v1/things", headers=forged)).status_code for _ in range(2)]
        statuses += [(await door.get("/api/v1/nothing")).status_code for _ in range(2)]
    assert statuses == [401, 401, 404, 429]


async def test_sign_in_codes_are_limited_by_address_whatever_headers_say() -> None:
    async with gateway(otp_address_limit="2/minute") as door:
        answers = [
            await door.post("/api/v1/auth/otp", json={}, headers={"X-Forwarded-For": f"10.0.0.{n}"}) for n in range(4)
        ]
    assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
    assert "retry-after" in answers[-1].headers


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/api/v1/things/mine", "/api/v1/things/mine"),
        ("/api/v1/things/7", "/api/v1/things/{thing_id}"),
        ("/api/v1/things/7/reviews", "/api/v1/things/{thing_id}/reviews"),
    ],
)
def test_a_fixed_path_goes_before_a_parameter(path: str, template: str) -> None:
    found: Route = RoutingTable(DOCUMENT).match("GET", path)
    assert found.template == template
