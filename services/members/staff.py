"""Staff: people who sign in with a password, and the first operator.

A try is counted before the password is looked at, and forgotten when it leads to a sign-in: no burst gets past the
limit. An unknown username takes the same time and has the same limit as a known one.
"""

from __future__ import annotations

from datetime import timedelta
from math import ceil
from uuid import UUID

import structlog
from sqlalchemy import case, delete
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.audit import note
from chassis.db import Database, world_of
from chassis.i18n import DEFAULT_LOCALE, Locale, catalogue
from chassis.tokens import Signer
from services.members.passwords import Passwords
from services.members.people import register_person
from services.members.refusals import TooManyTries, UsernameTaken, WrongPassword
from services.members.roles import hold_role
from services.members.sign_in_models import PasswordTries, StaffAccount
from services.members.sign_ins import Tokens, open_sign_in
from services.members.turns import take_turn
from services.members.vault import Vault

PASSWORD_TRIES_MAX = 10
TRIES_WINDOW = timedelta(minutes=15)
BY_THE_SYSTEM = "system"

log = structlog.get_logger(__name__)


async def sign_in_with_password(
    db: Database, vault: Vault, signer: Signer, passwords: Passwords, username: str, password: str
) -> Tokens:
    """A sign-in for the right password; WrongPassword otherwise, TooManyTries for a username tried too often.

    It commits twice, because no transaction waits for the hashing: first the try, then what came of it.
    """
    username = username.lower()
    tries = vault.index("username", username)
    async with passwords.slot():
        async with db.transaction() as session:
            wait_s = await _count_try(session, tries)
            account = await session.get(StaffAccount, username)
        if wait_s:
            raise TooManyTries(wait_s=wait_s)
        is_right = await passwords.matches(password, account.password_hash if account else None)
    if account is None or not is_right:
        raise WrongPassword()
    async with db.transaction() as session:
        await session.execute(delete(PasswordTries).where(PasswordTries.username_index == tries))
        return await open_sign_in(session, signer, account.person_id)


async def add_staff(
    session: AsyncSession,
    actor: UUID | str,
    *,
    username: str,
    password_hash: str,
    display_name: str,
    locale: Locale = DEFAULT_LOCALE,
) -> StaffAccount:
    """A new person with a username and a password; UsernameTaken when somebody has it."""
    username = username.lower()
    await take_turn(session, "username", username)
    if await session.get(StaffAccount, username) is not None:
        raise UsernameTaken()
    person = await register_person(session, locale, display_name)
    now = world_of(session).now()
    account = StaffAccount(username=username, person_id=person.id, password_hash=password_hash, created_at=now)
    session.add(account)
    note(session, actor, "add_staff", person.id)
    return account


async def ensure_operator(db: Database, passwords: Passwords, username: str, password: str) -> None:
    """The first operator, unless there is a staff account with this username; copies that start together make one."""
    async with db.transaction() as session:
        if await session.get(StaffAccount, username.lower()) is not None:
            return
    async with passwords.slot():
        password_hash = await passwords.hash(password)
    name: str = catalogue("services.members", DEFAULT_LOCALE)["operator_name"]
    try:
        async with db.transaction() as session:
            account = await add_staff(
                session, BY_THE_SYSTEM, username=username, password_hash=password_hash, display_name=name
            )
            await hold_role(session, account.person_id, "operator")
            note(session, BY_THE_SYSTEM, "grant_role", account.person_id, role="operator")
    except UsernameTaken:
        return
    log.info("first_operator_made", person_id=str(account.person_id))


async def _count_try(session: AsyncSession, tries: bytes) -> int:
    """Count one more try; returns for how many seconds none is taken, zero when this one is."""
    now = world_of(session).now()
    over = PasswordTries.since <= now - TRIES_WINDOW
    counted = await session.execute(
        insert(PasswordTries)
        .values(username_index=tries, tries=1, since=now)
        .on_conflict_do_update(
            index_elements=["username_index"],
            set_={
                "tries": case((over, 1), else_=PasswordTries.tries + 1),
                "since": case((over, now), else_=PasswordTries.since),
            },
        )
        .returning(PasswordTries.tries, PasswordTries.since)
    )
    count, since = counted.one()
    if count <= PASSWORD_TRIES_MAX:
        return 0
    return max(1, ceil((since + TRIES_WINDOW - now).total_seconds()))
