"""The gateway by itself, before upstreams that the test makes."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from chassis.errors import Unavailable
from gateway.readiness import KEPT_S, Readiness
from gateway.routes import Route, RoutingTable
from tests.chassis import test_tokens
from tests.doors import DOCUMENT, authorization, door
from tests.harness import Clock

AUTHOR = str(uuid4())


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


async def ready(scope: Scope, receive: Receive, send: Send) -> None:
    assert (scope["method"], scope["raw_path"], scope["query_string"]) == ("GET", b"/readyz", b"")
    await JSONResponse({})(scope, receive, send)


async def not_ready(scope: Scope, receive: Receive, send: Send) -> None:
    await JSONResponse({}, 503)(scope, receive, send)


async def gone(scope: Scope, receive: Receive, send: Send) -> None:
    raise Unavailable()


async def hanging(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.Event().wait()


def gateway(upstream: ASGIApp = echo, members: ASGIApp | None = None, **settings: Any) -> httpx.AsyncClient:
    app = door({"orders": upstream}, httpx.ASGITransport(members) if members else None, **settings)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway")


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


async def test_a_sign_in_is_told_its_address_by_the_gateway_alone_and_no_other_route_is() -> None:
    told = {"X-Client-Address": "192.0.2.1", "X-Forwarded-For": "192.0.2.1"}
    async with gateway() as door:
        sign_in = await door.post("/api/v1/auth/otp", json={}, headers=told)
        other = await door.get("/api/v1/things", headers=told)
    assert sign_in.json()["headers"]["x-client-address"] == "127.0.0.1"
    assert "x-client-address" not in other.json()["headers"]


async def test_an_expired_token_in_the_header_keeps_nobody_from_signing_in() -> None:
    async with gateway() as door:
        answer = await door.post("/api/v1/auth/otp", json={}, headers={"Authorization": "Bearer expired"})
    assert answer.status_code == 200


async def test_a_service_that_is_not_there_is_said_to_be_unavailable() -> None:
    async with gateway() as door:
        answer = await door.get("/api/v1/elsewhere")
    assert answer.status_code == 503
    assert "retry-after" in answer.headers


@pytest.mark.parametrize("other", [not_ready, gone, hanging])
async def test_the_door_is_ready_while_any_service_is_and_says_which(other: ASGIApp) -> None:
    app = door({"orders": ready, "points": other})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        answer = await client.get("/readyz?a=b", headers={"Accept-Language": "en"})
    assert answer.status_code == 200
    assert answer.json() == {"status": "ready", "services": {"orders": "ready", "points": "unavailable"}}


async def test_a_door_with_no_service_behind_it_is_alive_and_not_ready() -> None:
    async with gateway(gone) as client:
        answer = await client.get("/readyz")
        assert (await client.get("/healthz")).json() == {"status": "alive"}
    assert answer.status_code == 503
    assert answer.json()["type"] == "urn:linli:problem:unavailable"
    assert "retry-after" in answer.headers


async def test_readiness_asks_each_service_with_a_request_of_its_own() -> None:
    """The caller's own request has one body, which cannot be read for two."""

    async def reads(scope: Scope, receive: Receive, send: Send) -> None:
        assert await Request(scope, receive).body() == b""
        await ready(scope, receive, send)

    app = door({"orders": reads, "points": reads})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        answer = await client.request("GET", "/readyz", content=b"something")
    assert set(answer.json()["services"].values()) == {"ready"}


async def test_a_key_passes_only_to_a_route_that_keeps_it() -> None:
    """So that a request with a key, which may be sent twice, has one effect whatever its client sends keys for."""
    async with gateway() as client:
        keyed = await client.post("/api/v1/things/7/claims", headers={"Idempotency-Key": "k"})
        other = await client.post("/api/v1/things/7/notes", headers={"Idempotency-Key": "k"})
    assert keyed.json()["headers"]["idempotency-key"] == "k"
    assert "idempotency-key" not in other.json()["headers"]


async def test_pages_are_completed_with_display_names() -> None:
    async with gateway() as door:
        answer = await door.get("/api/v1/things/7/reviews")
    assert answer.json()["names"] == {AUTHOR: "居民甲"}
    assert answer.headers["content-length"] == str(len(answer.content))


@pytest.mark.parametrize("members", [not_ready, gone, hanging])
async def test_a_page_comes_without_names_when_members_does_not_answer(members: ASGIApp) -> None:
    async with gateway(members=members) as door:
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


@pytest.mark.parametrize("route", ["otp", "token"])
async def test_sign_ins_are_limited_by_address_whatever_headers_say(route: str) -> None:
    async with gateway(otp_address_limit="2/minute") as door:
        answers = [
            await door.post(f"/api/v1/auth/{route}", json={}, headers={"X-Forwarded-For": f"10.0.0.{n}"})
            for n in range(4)
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


async def test_no_forged_token_passes_the_gateway() -> None:
    """The same tokens as at every service by itself (tests/chassis/test_tokens.py)."""
    reached = []

    async def upstream(scope: Scope, receive: Receive, send: Send) -> None:
        reached.append(scope["path"])
        await echo(scope, receive, send)

    clock = Clock()
    app = door({"orders": upstream}, signer=test_tokens.SIGNER, now=clock)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:

        async def ask(token: str) -> int:
            headers = {b"Authorization": b"Bearer " + token.encode("utf-8")}
            return (await client.post("/api/v1/things", json={}, headers=headers)).status_code

        statuses = {name: await ask(token) for name, token in test_tokens.forged(clock()).items()}
        assert statuses == dict.fromkeys(statuses, 401)
        assert reached == []
        assert await ask(test_tokens.signed(test_tokens.claims(clock()))) == 200, "a good one does"


async def test_however_many_ask_whether_all_is_ready_the_services_are_asked_once_a_second() -> None:
    asked = 0

    async def service(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal asked
        asked += scope["path"] == "/readyz"
        await asyncio.sleep(0.05)
        await echo(scope, receive, send)

    clock_s = [100.0]
    scope: Scope = {"type": "http", "asgi": {}, "http_version": "1.1", "method": "GET", "scheme": "http", "headers": []}
    scope.update(path="/readyz", raw_path=b"/readyz", query_string=b"")
    readiness = Readiness({"orders": service}, lambda: clock_s[0])
    for expected in (1, 1, 2):
        found = await asyncio.gather(*(readiness.of_services(scope) for _ in range(50)))
        assert found == [{"orders": True}] * 50
        assert asked == expected
        clock_s[0] += KEPT_S / 2
