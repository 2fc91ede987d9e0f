"""Bytes that no client library sends, at the gateway's own process: none reaches a route or an identity it should not.

Behind the gateway is a service that notes what comes. `HIDDEN` is what an attacker wants to reach past the one request
that the gateway sees.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import uuid4

import pytest
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from chassis.headers import CLIENT_ADDRESS_HEADER, SECURITY_HEADERS
from chassis.settings import SERVICE_NAMES
from chassis.tokens import Signer, generate_key
from chassis.world import World
from gateway.forward import KEYED_REQUEST_HEADERS, RESPONSE_HEADERS
from gateway.upstream import HttpUpstream, Streams, open_session
from tests.chassis.parts import must_fail
from tests.chassis.processes import started
from tests.raw import Reply, exchange, request
from tests.wire import serving

SIGNER = Signer(generate_key())
TOKEN = SIGNER.access_token(uuid4(), uuid4(), [], World().now())
SIGNED_IN = f"Authorization: Bearer {TOKEN}"
FORGED = "Authorization: Bearer a.b.c"
HIDDEN = request("GET /api/v1/rewards HTTP/1.1")
JSON = "Content-Type: application/json"
CHUNKED = "Transfer-Encoding: chunked"
# What a service hears, and what a client: the listed headers, and those that the gateway and its server add.
PASSED = {name.decode() for name in KEYED_REQUEST_HEADERS} | {"host", "x-request-id", "transfer-encoding"}
PASSED |= {CLIENT_ADDRESS_HEADER.decode()}
SECURING = {name.decode() for name, _ in SECURITY_HEADERS}
ANSWERED = {name.decode() for name in RESPONSE_HEADERS} | SECURING
ANSWERED |= {"date", "connection", "transfer-encoding", "x-request-id", "allow"}


def get(path: str | bytes, *headers: str | bytes) -> bytes:
    path = path.encode() if isinstance(path, str) else path
    return request(b"GET " + path + b" HTTP/1.1", *headers)


def post(*headers: str | bytes, body: bytes = b"") -> bytes:
    return request("POST /api/v1/auth/otp HTTP/1.1", JSON, *headers, body=body)


def chunks(body: bytes, *headers: str | bytes) -> bytes:
    return post(*(headers or (CHUNKED,)), body=body)


# What is sent, and the statuses of all that is answered.
FRAMING: dict[str, tuple[bytes, list[int]]] = {
    "length and coding": (chunks(b"0\r\n\r\n" + HIDDEN, "Content-Length: 4", CHUNKED), [400]),
    "coding and length": (chunks(b"0\r\n\r\n" + HIDDEN, CHUNKED, "Content-Length: 4"), [400]),
    "two lengths": (post("Content-Length: 2", "Content-Length: 40", body=b"{}" + HIDDEN), [400]),
    "the same length twice": (post("Content-Length: 2", "Content-Length: 2", body=b"{}"), [400]),
    "a list of lengths": (post("Content-Length: 2, 2", body=b"{}"), [400]),
    "a signed length": (post("Content-Length: +2", body=b"{}"), [400]),
    "a negative length": (post("Content-Length: -1", body=b"{}"), [400]),
    "a hexadecimal length": (post("Content-Length: 0x2", body=b"{}"), [400]),
    "a length beyond numbers": (post("Content-Length: 99999999999999999999999", body=b"{}"), [400]),
    "a blank before the colon of a length": (post("Content-Length : 2", body=b"{}"), [400]),
    "a blank before the colon of a coding": (
        post("Transfer-Encoding : chunked", "Content-Length: 2", body=b"{}"),
        [400],
    ),
    "a coding of its own": (chunks(b"{}" + HIDDEN, "Transfer-Encoding: identity"), [400]),
    "another coding": (chunks(b"2\r\n{}\r\n0\r\n\r\n" + HIDDEN, "Transfer-Encoding: xchunked"), [400]),
    "a coding after chunks": (chunks(b"2\r\n{}\r\n0\r\n\r\n" + HIDDEN, "Transfer-Encoding: chunked, gzip"), [400]),
    "a coding before chunks": (chunks(b"2\r\n{}\r\n0\r\n\r\n", "Transfer-Encoding: gzip, chunked"), [400]),
    "two codings": (chunks(b"2\r\n{}\r\n0\r\n\r\n", CHUNKED, "Transfer-Encoding: identity"), [400]),
    "a coding with a tab": (post("Transfer-Encoding:\x0bchunked", "Content-Length: 2", body=b"{}" + HIDDEN), [400]),
    "chunks of HTTP/1.0": (
        request("POST /api/v1/auth/otp HTTP/1.0", JSON, CHUNKED, body=b"2\r\n{}\r\n0\r\n\r\n" + HIDDEN),
        [400],
    ),
    "a chunk of negative size": (chunks(b"-2\r\n{}\r\n0\r\n\r\n" + HIDDEN), [400]),
    "a chunk of endless size": (chunks(b"ffffffffffffffffff\r\n{}\r\n0\r\n\r\n" + HIDDEN), [400]),
    "chunks with bare line feeds": (chunks(b"2\n{}\n0\n\n" + HIDDEN), [400]),
    "a line feed in a chunk's extension": (chunks(b"2;a\nb\r\n{}\r\n0\r\n\r\n" + HIDDEN), [400]),
    "a chunk's extension": (chunks(b"2;a=b\r\n{}\r\n0\r\n\r\n"), [200]),
    "a token in a trailer": (chunks(b"2\r\n{}\r\n0\r\n" + SIGNED_IN.encode() + b"\r\n\r\n"), [200]),
    "a folded header": (get("/api/v1/me", "Authorization: Bearer", f" {TOKEN}"), [400]),
    "a bare line feed": (b"GET /api/v1/products HTTP/1.1\nHost: linli\n\n" + HIDDEN, [400]),
    "a bare carriage return": (get("/api/v1/products", "X: a\rAuthorization: b"), [400]),
    "NUL in a header": (get("/api/v1/products", b"X: a\x00b"), [400]),
    "a header without a name": (get("/api/v1/products", ": a"), [400]),
    "a header without a colon": (get("/api/v1/products", "Xyz"), [400]),
    "a name with a bracket": (get("/api/v1/products", "X(: a"), [400]),
    "two hosts": (get("/api/v1/products", "Host: elsewhere"), [400]),
    "HTTP/0.9": (b"GET /api/v1/products\r\n\r\n", [400]),
    "HTTP/1.2": (request("GET /api/v1/products HTTP/1.2"), [400]),
    "HTTP/2.0": (request("GET /api/v1/products HTTP/2.0"), [400]),
    "HTTP/2 by prior knowledge": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [400]),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50), [400]),
    "a body that is a request": (get("/api/v1/products", f"Content-Length: {len(HIDDEN)}") + HIDDEN, [200]),
    "an upgrade to HTTP/2": (get("/api/v1/products", "Connection: Upgrade", "Upgrade: h2c") + HIDDEN, [200]),
    "an upgrade to a socket": (get("/api/v1/products", "Connection: Upgrade", "Upgrade: websocket") + HIDDEN, [200]),
    "more after the last request": (get("/api/v1/products", "Connection: close") + HIDDEN, [200]),
    "one request after another": (get("/api/v1/products") + get("/api/v1/products"), [200, 200]),
}

PATHS: dict[str, tuple[bytes, list[int]]] = {
    f"{method} {path!r}": (request(f"{method} ".encode() + path + b" HTTP/1.1"), [status])
    for method, path, status in (
        ("GET", b"/internal/names", 404),
        ("GET", b"//internal/names", 404),
        ("GET", b"/api/v1/internal/names", 404),
        ("GET", b"/api/v1/../internal/names", 400),
        ("GET", b"/api/v1/..", 400),
        ("GET", b"/api/v1/./products", 404),
        ("GET", b"/api/v1/%2e%2e/internal/names", 400),
        ("GET", b"/api/v1/%2E%2E%2Finternal", 400),
        ("GET", b"/api/v1/%252e%252e/internal", 404),
        ("GET", b"/api/v1/products%2fmine", 400),
        ("GET", b"/api/v1/products%5cmine", 400),
        ("GET", b"/api/v1\\products", 404),
        ("GET", b"/api/v1/products;x=1", 404),
        ("GET", b"/api/v1/products%00", 400),
        ("GET", b"/api/v1/\x00products", 400),
        ("GET", b"/api/v1/products?a=%00", 400),
        ("GET", b"/api/v1/products?a=\xff", 400),
        ("GET", b"/api/v1/%c0%ae%c0%ae/products", 404),
        ("GET", "/api/v1/产品".encode(), 400),
        ("GET", b"/api/v1/products%ef%bc%8fx", 404),
        ("GET", b"/API/v1/products", 404),
        ("GET", b"/api/v1/Products", 404),
        ("GET", b"/api/v1/products/", 404),
        ("GET", b"//api/v1/products", 404),
        ("GET", b"/api/v1//products", 404),
        ("GET", b"http://elsewhere/internal/names", 404),
        ("GET", b"api/v1/products", 400),
        ("GET", b"?x", 400),
        ("GET", b"/api/v1/products x", 400),
        ("GET", b"/api/v1/" + b"a" * 9_000, 400),
        ("OPTIONS", b"*", 404),
        ("OPTIONS", b"/api/v1/products", 405),
        ("TRACE", b"/api/v1/products", 405),
        ("CONNECT", b"elsewhere:443", 400),
        ("CONNECT", b"/api/v1/products", 405),
        ("PUT", b"/api/v1/products", 405),
        ("DELETE", b"/api/v1/me/stream", 405),
        ("BREW", b"/api/v1/products", 400),
        ("get", b"/api/v1/products", 400),
        ("POST", b"/healthz", 405),
        ("DELETE", b"/readyz", 405),
        ("POST", b"/api/v1/docs", 405),
        ("HEAD", b"/api/v1/products", 200),
        ("HEAD", b"/healthz", 200),
        ("HEAD", b"/internal/names", 404),
    )
}

IDENTITIES: dict[str, tuple[bytes, list[int]]] = {
    "a good token": (get("/api/v1/me", SIGNED_IN), [200]),
    "none": (get("/api/v1/me"), [401]),
    "two tokens": (get("/api/v1/me", SIGNED_IN, FORGED), [400]),
    "two tokens, the good one last": (get("/api/v1/me", FORGED, SIGNED_IN), [400]),
    "the same token twice": (get("/api/v1/me", SIGNED_IN, SIGNED_IN), [400]),
    "a list of tokens": (get("/api/v1/me", f"{SIGNED_IN}, {FORGED}"), [401]),
    "another scheme": (get("/api/v1/me", f"Authorization: Token {TOKEN}"), [401]),
    "no blank": (get("/api/v1/me", f"Authorization: Bearer{TOKEN}"), [401]),
    "many blanks": (get("/api/v1/me", f"Authorization:   Bearer    {TOKEN}   "), [200]),
    "small letters": (get("/api/v1/me", f"AUTHORIZATION: bearer {TOKEN}"), [200]),
    "a tab": (get("/api/v1/me", f"Authorization: Bearer\t{TOKEN}"), [401]),
    "no ASCII": (get("/api/v1/me", b"Authorization: Bearer \xff\xfe"), [401]),
    "a huge one": (get("/api/v1/me", f"Authorization: Bearer {'a' * 20_000}"), [401]),
    "an alias with an underscore": (get("/api/v1/me", SIGNED_IN.replace("Authorization", "Authorization_")), [401]),
    "an alias with a dot": (get("/api/v1/me", SIGNED_IN.replace("Authorization", "Authorization.")), [401]),
    "in the query": (get(f"/api/v1/me?access_token={TOKEN}&token={TOKEN}"), [401]),
    "in a cookie": (get("/api/v1/me", f"Cookie: access_token={TOKEN}; Authorization=Bearer {TOKEN}"), [401]),
    "in the proxy's header": (get("/api/v1/me", f"Proxy-Authorization: Bearer {TOKEN}"), [401]),
    "named by Connection": (get("/api/v1/me", FORGED, "Connection: authorization"), [401]),
    "named by a header": (get("/api/v1/me", "X-Person-Id: 1", "X_Person_Id: 1", "X-Roles: operator"), [401]),
    "another method in a header": (
        request("POST /api/v1/products HTTP/1.1", "X-HTTP-Method-Override: GET", "Content-Length: 0"),
        [401],
    ),
    "another path in a header": (get("/api/v1/products", "X-Original-URL: /internal/names", "X-Rewrite-URL: /"), [200]),
    "another host in a header": (get("/api/v1/products", "X-Forwarded-Host: elsewhere", "Forwarded: for=1"), [200]),
    "an origin": (get("/api/v1/products", "Origin: http://elsewhere"), [200]),
    "a preflight": (
        request("OPTIONS /api/v1/products HTTP/1.1", "Origin: http://elsewhere", "Access-Control-Request-Method: POST"),
        [405],
    ),
}
ATTACKS = {**FRAMING, **PATHS, **IDENTITIES}
# All that any of them may reach, and nothing else.
REACHABLE = {"GET /api/v1/products", "POST /api/v1/auth/otp", "GET /api/v1/me"}
KEYS = "GET /api/v1/.well-known/jwks.json"


@dataclass
class Service:
    """Answers everything, and notes it."""

    heard: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        self.heard.append((f"{scope['method']} {scope['raw_path'].decode()}", headers))
        while (await receive()).get("more_body"):
            pass
        content = SIGNER.public_keys() if scope["path"].endswith("jwks.json") else {"items": []}
        more = {
            "Access-Control-Allow-Origin": "*",
            "Set-Cookie": "a=b",
            "X-Powered-By": "x",
            "Connection": "x-powered-by",
        }
        await JSONResponse(content, headers=more)(scope, receive, send)


@asynccontextmanager
async def gateway() -> AsyncIterator[tuple[Service, str]]:
    """The gateway's process, and the service behind it."""
    service = Service()
    async with serving(service) as url:
        settings = {
            "LINLI_PORT": "0",
            "LINLI_LOOKUP_KEY": generate_key(),
            "LINLI_SERVICE_URLS": json.dumps(dict.fromkeys(SERVICE_NAMES, url)),
        }
        async with started("-m", "gateway", environment=settings) as child:
            yield service, await child.ready()


@pytest.fixture(scope="module")
async def door() -> AsyncIterator[tuple[Service, str]]:
    async with gateway() as made:
        yield made


async def attack(url: str) -> dict[str, list[Reply]]:
    """Everything at once; the replies by name."""
    sent = [exchange(url, data, len(statuses)) for data, statuses in ATTACKS.values()]
    return dict(zip(ATTACKS, await asyncio.gather(*sent), strict=True))


async def nothing_gets_through(service: Service, url: str) -> None:
    service.heard.clear()
    replies = await attack(url)
    got = {name: [reply.status for reply in found] for name, found in replies.items()}
    assert {name: got[name] for name, (_, statuses) in ATTACKS.items() if got[name] != statuses} == {}
    # Without what the gateway asks for itself.
    heard = [(line, headers) for line, headers in service.heard if line != KEYS]
    assert {line for line, _ in heard} == REACHABLE
    assert {name for _, headers in heard for name in headers} <= PASSED
    tokens = {headers.get("authorization", "").lower().removeprefix("bearer").strip() for _, headers in heard}
    assert tokens == {"", TOKEN.lower()}


async def test_nothing_gets_through(door: tuple[Service, str]) -> None:
    await nothing_gets_through(*door)


async def test_control_a_door_that_passes_everything_on_lets_it_through() -> None:
    service = Service()
    async with serving(service) as behind, open_session() as session:
        through: ASGIApp = HttpUpstream(session, behind, Streams())
        async with serving(through) as url:
            await must_fail(nothing_gets_through, service, url)


async def test_every_answer_has_the_security_headers_and_none_that_is_not_listed(door: tuple[Service, str]) -> None:
    """None that lets another origin read it, either."""
    _, url = door
    pages = {path: get(path) for path in ("/", "/healthz", "/readyz", "/api/v1/docs", "/api/v1/openapi.json")}
    replies = await attack(url)
    replies |= {path: await exchange(url, data) for path, data in pages.items()}
    for name, found in replies.items():
        for reply in found:
            assert SECURING <= reply.headers.keys() <= ANSWERED, name
            assert reply.headers["x-content-type-options"] == "nosniff"


async def test_a_refused_method_names_those_that_are_taken(door: tuple[Service, str]) -> None:
    [products] = await exchange(door[1], request("PUT /api/v1/products HTTP/1.1"))
    [health] = await exchange(door[1], request("POST /healthz HTTP/1.1"))
    assert (products.headers["allow"], health.headers["allow"]) == ("GET, HEAD, POST", "GET, HEAD")
