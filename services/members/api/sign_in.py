"""Signing in and out, and the keys to verify access tokens with."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import Response
from pydantic import StringConstraints

from chassis.api import Api, Body, ClientAddress, Db, RequestLocale, Words
from chassis.auth import PUBLIC, SIGN_IN, SIGNED_IN, CurrentPrincipal
from chassis.errors import InvalidInput, Refusal
from services.members.challenges import CODE_LIFE_S, answer_challenge, challenge_phone
from services.members.parts import CurrentParts
from services.members.phones import Phone
from services.members.sign_ins import end_sign_in, refresh_sign_in
from services.members.staff import sign_in_with_password
from services.members.views import ChallengeView, SignedInView

# Verifiers ask again for a key they do not know, so this only spares them the repetition.
KEYS_MAX_AGE_S = 300

Code = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^[0-9]{6}$")]
GivenPassword = Annotated[str, StringConstraints(min_length=1, max_length=200)]

api = Api("sign-in")


class NewChallenge(Body):
    """A Chinese mobile number, or any with its country (E.164)."""

    phone: Phone


class Credentials(Body):
    """Either the challenge with its code, or username and password."""

    challenge_id: UUID | None = None
    code: Code | None = None
    username: Annotated[str, Words(64)] | None = None
    password: GivenPassword | None = None


class Refresh(Body):
    """The newest refresh token of a sign-in."""

    refresh_token: Annotated[str, Words(200)]


@api.post("/auth/otp", policy=SIGN_IN, status_code=202)
async def request_code(
    body: NewChallenge, db: Db, parts: CurrentParts, locale: RequestLocale, address: ClientAddress
) -> ChallengeView:
    """Send a sign-in code to a phone. The answer does not tell whether anybody has that phone."""
    async with db.transaction() as session:
        challenge = await challenge_phone(session, parts.vault, body.phone, locale, address)
    return ChallengeView(challenge_id=challenge.id, expires_in=CODE_LIFE_S)


@api.post("/auth/token", policy=SIGN_IN)
async def sign_in(body: Credentials, db: Db, parts: CurrentParts, address: ClientAddress) -> SignedInView:
    """Sign in with a code or a password. The first sign-in with a phone makes the account."""
    _require_one_pair(body)
    if body.challenge_id is not None and body.code is not None:
        async with db.transaction() as session:
            outcome = await answer_challenge(session, parts.vault, parts.signer, body.challenge_id, body.code, address)
        if isinstance(outcome, Refusal):
            raise outcome
        return SignedInView.of(outcome)
    username, password = str(body.username), str(body.password)
    return SignedInView.of(
        await sign_in_with_password(db, parts.vault, parts.signer, parts.passwords, username, password, address)
    )


@api.post("/auth/refresh", policy=SIGN_IN)
async def refresh(body: Refresh, db: Db, parts: CurrentParts) -> SignedInView:
    """The next pair of tokens. A refresh token is good once; its second use ends the sign-in."""
    async with db.transaction() as session:
        outcome = await refresh_sign_in(session, parts.signer, body.refresh_token)
    if isinstance(outcome, Refusal):
        raise outcome
    return SignedInView.of(outcome)


@api.post("/auth/logout", policy=SIGNED_IN, status_code=204)
async def sign_out(principal: CurrentPrincipal, db: Db) -> None:
    """End this sign-in: its access and refresh tokens are refused from now on."""
    async with db.transaction() as session:
        await end_sign_in(session, principal.session_id)


@api.get("/.well-known/jwks.json", policy=PUBLIC)
async def read_keys(parts: CurrentParts, response: Response) -> dict[str, Any]:
    """The public keys (JSON Web Key Set) that access tokens are verified with."""
    response.headers["Cache-Control"] = f"public, max-age={KEYS_MAX_AGE_S}"
    return parts.signer.public_keys()


def _require_one_pair(body: Credentials) -> None:
    pairs = (("challenge_id", "code"), ("username", "password"))
    begun = [pair for pair in pairs if any(getattr(body, field) is not None for field in pair)]
    if len(begun) != 1:
        raise InvalidInput(("body", "one_of_fields", {"fields": "challenge_id + code, username + password"}))
    missing = [field for field in begun[0] if getattr(body, field) is None]
    if missing:
        raise InvalidInput(*[(f"body.{field}", "missing", {}) for field in missing])
