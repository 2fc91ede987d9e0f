"""What any process asks members: the keys with which tokens are verified."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx

from chassis.errors import Unavailable

KEYS_PATH = "/api/v1/.well-known/jwks.json"

# A look-up that takes longer has failed; who made it goes on without the answer, or says that it cannot.
LOOKUP_TIMEOUT_S = 2.0


async def fetch_keys(members: httpx.AsyncClient) -> Mapping[str, Any]:
    """Members' public keys (a JSON Web Key Set); Unavailable when it does not answer."""
    try:
        async with asyncio.timeout(LOOKUP_TIMEOUT_S):
            response = await members.get(KEYS_PATH)
            response.raise_for_status()
            keys: Mapping[str, Any] = response.json()
    except (httpx.HTTPError, TimeoutError, ValueError) as error:
        raise Unavailable() from error
    return keys
