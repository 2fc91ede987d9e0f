"""A gateway for tests: a small OpenAPI document, tokens that it takes, and a members that it asks for names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from uuid import uuid4

import httpx
from starlette.types import ASGIApp

from chassis.metrics import Metrics
from chassis.settings import Settings
from chassis.tokens import Signer, Verifier, generate_key
from chassis.world import World
from gateway.app import build_gateway
from gateway.compose import Names

SIGNER = Signer(generate_key())
PERSON, SESSION = uuid4(), uuid4()
KEY = {"name": "Idempotency-Key", "in": "header"}


def operation(policy: str = "public", **extra: Any) -> dict[str, Any]:
    return {"x-linli-service": "orders", "x-linli-policy": policy, "tags": ["t"], **extra}


DOCUMENT = {
    "paths": {
        "/api/v1/things": {"get": operation(), "post": operation("signed_in")},
        "/api/v1/things/{thing_id}": {"get": operation(), "patch": operation()},
        "/api/v1/things/{thing_id}/claims": {"post": operation(parameters=[KEY])},
        "/api/v1/things/{thing_id}/notes": {"post": operation()},
        "/api/v1/things/mine": {"get": operation("signed_in")},
        "/api/v1/things/{thing_id}/reviews": {"get": operation(**{"x-linli-compose": "names"})},
        "/api/v1/elsewhere": {"get": operation(**{"x-linli-service": "points"})},
        "/api/v1/auth/otp": {"post": operation("sign_in")},
        "/api/v1/auth/token": {"post": operation("sign_in")},
    }
}


def everybody_is_called_jia(request: httpx.Request) -> httpx.Response:
    """What members answers when it is asked for names."""
    return httpx.Response(200, json={"names": dict.fromkeys(request.url.params.get_list("ids"), "居民甲")})


def door(
    upstreams: Mapping[str, ASGIApp],
    members: httpx.AsyncBaseTransport | None = None,
    *,
    signer: Signer = SIGNER,
    now: Callable[[], datetime] | None = None,
    **settings: Any,
) -> ASGIApp:
    """The gateway before these services, which takes the signer's tokens."""

    async def keys() -> dict[str, Any]:
        return signer.public_keys()

    world = World(now=now) if now else World()
    client = httpx.AsyncClient(
        transport=members or httpx.MockTransport(everybody_is_called_jia), base_url="http://members"
    )
    names = Names(client, Signer(generate_key()))
    return build_gateway(DOCUMENT, upstreams, Verifier(keys, world.now), names, Settings(**settings), world, Metrics())


def authorization() -> dict[str, str]:
    return {"Authorization": f"Bearer {SIGNER.access_token(PERSON, SESSION, [], World().now())}"}
