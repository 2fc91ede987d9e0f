"""Sign-ins: each has a family of refresh tokens, of which only the newest may be used, once.

A refresh token that comes a second time was copied by somebody: the whole sign-in ends.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.db import world_of
from chassis.errors import Refusal
from chassis.outbox import emit
from chassis.tokens import Signer
from contracts.members import SignedOut
from services.members.refusals import SignInEnded
from services.members.roles import grants_of, keep_roles
from services.members.sign_in_models import RefreshToken, SignIn

REFRESH_TOKEN_BYTES = 32
REFRESH_TOKEN_DAYS = 30


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a sign-in is answered with."""

    person_id: UUID
    access_token: str
    refresh_token: str


async def open_sign_in(session: AsyncSession, signer: Signer, person_id: UUID) -> Tokens:
    """A new sign-in of this person, with its first tokens."""
    world = world_of(session)
    now = world.now()
    sign_in = SignIn(
        id=world.new_id(), person_id=person_id, created_at=now, expires_at=now + timedelta(days=REFRESH_TOKEN_DAYS)
    )
    session.add(sign_in)
    await session.flush()
    return await _issue(session, signer, sign_in)


async def refresh_sign_in(session: AsyncSession, signer: Signer, refresh_token: str) -> Tokens | Refusal:
    """New tokens for the sign-in's newest refresh token; for a used one the sign-in ends.

    SignInEnded is returned, not raised, so that the end commits first.
    """
    now = world_of(session).now()
    found = await session.execute(
        select(RefreshToken, SignIn)
        .join(SignIn, SignIn.id == RefreshToken.sign_in_id)
        .where(RefreshToken.token_hash == _hash(refresh_token))
        .with_for_update()
    )
    row = found.one_or_none()
    if row is None:
        return SignInEnded()
    token, sign_in = row
    if sign_in.ended_at is not None or token.expires_at <= now:
        return SignInEnded()
    if token.used_at is not None:
        _end(session, sign_in)
        return SignInEnded()
    token.used_at = now
    sign_in.expires_at = now + timedelta(days=REFRESH_TOKEN_DAYS)
    return await _issue(session, signer, sign_in)


async def end_sign_in(session: AsyncSession, sign_in_id: UUID) -> None:
    """Sign out: no token of this sign-in is taken any more. Nothing happens to one that has ended."""
    sign_in = await session.get(SignIn, sign_in_id, with_for_update=True)
    if sign_in is not None and sign_in.ended_at is None:
        _end(session, sign_in)


def _end(session: AsyncSession, sign_in: SignIn) -> None:
    sign_in.ended_at = world_of(session).now()
    emit(session, SignedOut(session_id=sign_in.id, person_id=sign_in.person_id), sequence=1)


async def _issue(session: AsyncSession, signer: Signer, sign_in: SignIn) -> Tokens:
    world = world_of(session)
    refresh_token = urlsafe_b64encode(world.random.randbytes(REFRESH_TOKEN_BYTES)).decode().rstrip("=")
    session.add(RefreshToken(token_hash=_hash(refresh_token), sign_in_id=sign_in.id, expires_at=sign_in.expires_at))
    await keep_roles(session, sign_in.person_id)
    grants = await grants_of(session, sign_in.person_id)
    access_token = signer.access_token(sign_in.person_id, sign_in.id, grants, world.now())
    return Tokens(sign_in.person_id, access_token, refresh_token)


def _hash(refresh_token: str) -> bytes:
    # Plain SHA-256 is enough: the token is random, there is nothing to guess.
    return sha256(refresh_token.encode()).digest()
