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
from services.members.familiar import is_familiar, make_familiar
from services.members.people import person_with_phone
from services.members.refusals import TooManyCodes, WrongCode
from services.members.sign_in_models import Challenge
from services.members.sign_ins import Tokens, open_sign_in
from services.members.turns import take_turn
from services.members.vault import Vault

CODE_DIGITS = 6
CODE_LIFE_S = 300
WRONG_CODES_MAX = 5
Caps = Sequence[tuple[int, timedelta]]
DAY = timedelta(days=1)
# How many codes one phone is sent within a time, exactly: asked for at an address that is familiar to it, at one that
# is not, and at all those that are not together.
FAMILIAR_MAX: Caps = ((10, timedelta(minutes=10)), (50, DAY))
STRANGE_MAX: Caps = ((5, timedelta(minutes=10)), (10, DAY))
STRANGERS_MAX: Caps = ((10, timedelta(minutes=10)), (20, timedelta(hours=1)))


async def challenge_phone(session: AsyncSession, vault: Vault, phone: str, locale: Locale, address: str) -> Challenge:
    """A new code for the phone, whether or not somebody has it; TooManyCodes beyond the caps.

    `address` is where the request comes from.
    """
    world = world_of(session)
    index, asked_at = vault.index("phone", phone), vault.index("address", address)
    await take_turn(session, "codes", index.hex())
    familiar = await is_familiar(session, index, asked_at)
    wait = await _wait(session, index, asked_at, familiar=familiar)
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
        address_index=asked_at,
        familiar=familiar,
        created_at=world.now(),
        expires_at=world.now() + timedelta(seconds=CODE_LIFE_S),
    )
    session.add(challenge)
    emit(session, SignInChallenged(challenge_id=challenge_id), sequence=1)
    return challenge


async def answer_challenge(
    session: AsyncSession, vault: Vault, signer: Signer, challenge_id: UUID, code: str, address: str
) -> Tokens | Refusal:
    """A sign-in for the right code, once; else WrongCode, to be raised after the commit that counts the attempt.

    `address`, where the request comes from, is familiar to the phone from then on.
    """
    now = world_of(session).now()
    challenge = await session.get(Challenge, challenge_id, with_for_update=True)
    if challenge is None or not _is_open(challenge, now):
        return WrongCode()
    if not compare_digest(vault.open(challenge.code_sealed, challenge.id), code):
        challenge.attempts += 1
        return WrongCode()
    challenge.used_at = now
    await make_familiar(session, challenge.phone_index, vault.index("address", address))
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


async def _wait(session: AsyncSession, phone: bytes, address: bytes, *, familiar: bool) -> timedelta:
    """How long until the phone may be sent another code that is asked for at this address."""
    now = world_of(session).now()
    sent = (
        select(Challenge.created_at, Challenge.address_index, Challenge.familiar)
        .where(Challenge.phone_index == phone, Challenge.created_at > now - DAY)
        .order_by(Challenge.created_at.desc())
    )
    rows = (await session.execute(sent)).all()
    here = [row.created_at for row in rows if row.address_index == address]
    if familiar:
        return wait_after(here, now, FAMILIAR_MAX)
    strangers = [row.created_at for row in rows if not row.familiar]
    return max(wait_after(here, now, STRANGE_MAX), wait_after(strangers, now, STRANGERS_MAX))


def wait_after(newest_first: Sequence[datetime], now: datetime, caps: Caps) -> timedelta:
    """How long until who was sent codes at these times may be sent another; zero when it may be at once."""
    waits = [newest_first[most - 1] + span - now for most, span in caps if len(newest_first) >= most]
    return max([timedelta(), *waits])


def _is_open(challenge: Challenge, now: datetime) -> bool:
    return challenge.used_at is None and challenge.attempts < WRONG_CODES_MAX and now < challenge.expires_at


def _locale(text: str) -> Locale:
    return next(locale for locale in LOCALES if locale == text)
