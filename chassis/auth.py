"""Who may call a route: every route declares a policy, and the policy is checked before the route runs.

A policy looks at the token alone. Whether this person may touch this very thing (an area's subtree, an organisation,
their own booking) is decided by the use case, beside its rule, with `scopes.require` or the row's owner.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request

from chassis.errors import Forbidden, Unauthenticated
from chassis.tokens import Principal, verify_service_token

BEARER = "bearer "


@dataclass(frozen=True)
class Policy:
    """`name` stands in the OpenAPI document (`x-linli-policy`); `enforce` raises for whoever may not call the route."""

    name: str
    enforce: Callable[[Request], Coroutine[Any, Any, None]]


async def token_principal(request: Request) -> Principal | None:
    """The principal of the request's token, None without one; Unauthenticated when it is not valid or is cut off."""
    token = bearer_token(request)
    if token is None:
        return None
    principal: Principal = await request.app.state.runtime.verifier.verify(token)
    request.app.state.runtime.cutoffs.check(principal)
    return principal


def bearer_token(request: Request) -> str | None:
    """The token of the Authorization header."""
    header = request.headers.get("authorization")
    if header is None:
        return None
    if not header.lower().startswith(BEARER):
        raise Unauthenticated()
    return header[len(BEARER) :].strip()


async def signed_in(request: Request) -> Principal:
    """The principal; 401 without one."""
    principal = await token_principal(request)
    if principal is None:
        raise Unauthenticated()
    return principal


CurrentPrincipal = Annotated[Principal, Depends(signed_in)]
OptionalPrincipal = Annotated[Principal | None, Depends(token_principal)]


async def _anybody(request: Request) -> None:
    await token_principal(request)


async def _signed_in(request: Request) -> None:
    await signed_in(request)


async def _sign_in_itself(_: Request) -> None:
    """Takes no token, so that an expired one in the header does not keep anybody from signing in."""


PUBLIC = Policy("public", _anybody)
SIGN_IN = Policy("sign_in", _sign_in_itself)
SIGNED_IN = Policy("signed_in", _signed_in)


def roles(*names: str) -> Policy:
    """Only people (or devices) who hold one of the roles somewhere."""

    async def enforce(request: Request) -> None:
        principal = await signed_in(request)
        if not principal.has(*names):
            raise Forbidden()

    return Policy("roles:" + ",".join(names), enforce)


def service(scope: str) -> Policy:
    """Only a service with its own key and this scope; such routes are internal and not behind the gateway.

    Its name is in `request.state.service` afterwards.
    """

    async def enforce(request: Request) -> None:
        runtime = request.app.state.runtime
        token = bearer_token(request)
        if token is None:
            raise Unauthenticated()
        request.state.service = verify_service_token(token, runtime.service_keys, scope, runtime.world.now())

    return Policy("service:" + scope, enforce)
