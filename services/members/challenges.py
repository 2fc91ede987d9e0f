"""Sign-in by a code sent to a phone: challenges, their caps, and the answer to one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from hmac import compare_digest
from math import ceil
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.audit import note
from chassis.db import world_of
from chassis.errors import NotFound, Refusal
from chassis.i18n import LOCALES, Locale
from chassis.outbox import emit
from chassis.tokens import Signer
from contracts.members import SignInChallenged
from services.members.people import person_with_phone
from services.members.refusals import TooManyCodes, WrongCode
from services.members.sign_in_models import Challenge
from services.members.sign_ins import Tokens, open_sign_in
from services.members.turns import take_turn
from services.members.vault import Vault

CODE_DIGITS = 6
CODE_LIFE_S = 300
WRONG_CODES_MAX = 5
# How many codes one phone is sent within a time, exactly.
CODES_MAX = ((10, timedelta(minutes=10)), (50, timedelta(days=1)))


async def challenge_phone(session: AsyncSession, vault: Vault, phone: str, locale: Locale) -> Challenge:
    """A new code for the phone, whether or not somebody has it; TooManyCodes beyond the caps."""
    world = world_of(session)
    index = vault.index("phone", phone)
    await take_turn(session, "codes", index.hex())
    sent = select(Challenge.created_at).where(Challenge.phone_index == index).order_by(Challenge.created_at.desc())
    newest_first = (await session.scalars(sent.limit(max(most for most, _ in CODES_MAX)))).all()
    wait = wait_after(newest_first, world.now())
    if wait:
        raise TooManyCodes(wait_s=ceil(wait.total_seconds()))
    challenge_id = world.new_id()
    code = f"{world.random.randrange(10**CODE_DIGITS):0{CODE_DIGITS}d}"
    challenge = Challenge(
        id=challenge_id,
        phone_index=index,
        phone_sealed=vault.seal(phone, challenge_id),
        code_sealed=vault.seal(code, challenge_id),
        locale=locale,
        created_at=world.now(),
        expires_at=world.now() + timedelta(seconds=CODE_LIFE_S),
    )
    session.add(challenge)
    emit(session, SignInChallenged(challenge_id=challenge_id), sequence=1)
    return challenge


async def answer_challenge(
    session: AsyncSession, vault: Vault, signer: Signer, challenge_id: UUID, code: str
) -> Tokens | Refusal:
    """A sign-in for the right code, once; else WrongCode, to be raised after the commit that counts the attempt."""
    now = world_of(session).now()
    challenge = await session.get(Challenge, challenge_id, with_for_update=True)
    if challenge is None or not _is_open(challenge, now):
        return WrongCode()
    if not compare_digest(vault.open(challenge.code_sealed, challenge.id), code):
        challenge.attempts += 1
        return WrongCode()
    challenge.used_at = now
    phone = vault.open(challenge.phone_sealed, challenge.id)
    person, _ = await person_with_phone(session, vault, phone, _locale(challenge.locale))
    return await open_sign_in(session, signer, person.id)


async def reveal_challenge(
    session: AsyncSession, vault: Vault, challenge_id: UUID, reader: str
) -> tuple[str, str, str]:
    """Phone, code and language of an open challenge, for the one who sends it; NotFound once it is over."""
    challenge = await session.get(Challenge, challenge_id)
    if challenge is None or not _is_open(challenge, world_of(session).now()):
        raise NotFound()
    note(session, reader, "read_challenge", challenge.id)
    phone = vault.open(challenge.phone_sealed, challenge.id)
    return phone, vault.open(challenge.code_sealed, challenge.id), challenge.locale


def wait_after(newest_first: Sequence[datetime], now: datetime) -> timedelta:
    """How long until a phone that was sent codes at these times may be sent another; zero when it may at once."""
    waits = [newest_first[most - 1] + span - now for most, span in CODES_MAX if len(newest_first) >= most]
    return max([timedelta(), *waits])


def _is_open(challenge: Challenge, now: datetime) -> bool:
    return challenge.used_at is None and challenge.attempts < WRONG_CODES_MAX and now < challenge.expires_at


def _locale(text: str) -> Locale:
    return next(locale for locale in LOCALES if locale == text)
