"""`python -m gateway`, started, asked and stopped as a deployment does."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from chassis.server import GRACEFUL_SHUTDOWN_S
from chassis.settings import SERVICE_NAMES
from chassis.tokens import Signer, generate_key
from chassis.world import World
from tests.chassis.processes import Child, started
from tests.wire import serving

SIGNER = Signer(generate_key())
PERSON = str(uuid4())


@asynccontextmanager
async def gateway(service_url: str) -> AsyncIterator[tuple[Child, httpx.AsyncClient]]:
    """A process that finds every service at one address, and a client of it."""
    settings = {
        "LINLI_PORT": "0",
        "LINLI_LOOKUP_KEY": generate_key(),
        "LINLI_SERVICE_URLS": json.dumps(dict.fromkeys(SERVICE_NAMES, service_url)),
    }
    async with (
        started("-m", "gateway", environment=settings) as child,
        httpx.AsyncClient(base_url=await child.ready(), headers={"Accept-Language": "en"}) as client,
    ):
        yield child, client


async def stream(request: Request) -> Response:
    async def events() -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"
        await asyncio.sleep(60)

    return StreamingResponse(events(), media_type="text/event-stream")


async def names(request: Request) -> Response:
    assert request.headers["authorization"].startswith("Bearer ")
    return JSONResponse({"names": dict.fromkeys(request.query_params.getlist("ids"), "居民甲")})


SERVICES = Starlette(
    routes=[
        Route("/readyz", lambda _: JSONResponse({})),
        Route("/api/v1/.well-known/jwks.json", lambda _: JSONResponse(SIGNER.public_keys())),
        Route("/api/v1/me/stream", stream),
        Route("/api/v1/products/7/reviews", lambda _: JSONResponse({"items": [{"author_id": PERSON}], "names": {}})),
        Route("/internal/names", names),
    ]
)


async def test_without_services_it_lives_and_says_what_it_cannot() -> None:
    async with gateway("http://127.0.0.1:9") as (_, client):
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/api/v1/openapi.json")).status_code == 200
        for path in ("/readyz", "/api/v1/products"):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()["type"]) == (503, "urn:linli:problem:unavailable")
            assert "retry-after" in answer.headers


async def test_it_asks_members_for_names() -> None:
    async with serving(SERVICES) as url, gateway(url) as (_, client):
        page = (await client.get("/api/v1/products/7/reviews")).json()
    assert page == {"items": [{"author_id": PERSON}], "names": {PERSON: "居民甲"}}


async def test_it_takes_members_tokens_and_ends_its_streams_when_it_is_told_to_stop() -> None:
    token = SIGNER.access_token(uuid4(), uuid4(), [], World().now())
    async with serving(SERVICES) as url, gateway(url) as (child, client):
        assert (await client.get("/readyz")).json()["services"] == dict.fromkeys(SERVICE_NAMES, "ready")
        headers = {"Authorization": f"Bearer {token}"}
        async with client.stream("GET", "/api/v1/me/stream", headers=headers) as answer:
            assert answer.status_code == 200
            parts = answer.aiter_bytes()
            assert await anext(parts) == b"data: 1\n\n"
            child.signal()
            told = time.monotonic()
            assert [part async for part in parts] == []
        assert await child.ends() == 0
    assert time.monotonic() - told < GRACEFUL_SHUTDOWN_S, "it waited until uvicorn lost patience"


async def test_it_does_not_start_without_its_key_and_names_it() -> None:
    async with started("-m", "gateway", environment={"LINLI_PORT": "0"}) as child:
        await child.says("cannot start: LINLI_LOOKUP_KEY is not set")
        assert await child.ends() == 2
