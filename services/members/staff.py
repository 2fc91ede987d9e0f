"""Staff: people who sign in with a password, and the first operator.

An unknown username takes the same time and has the same limits (`services.members.tries`) as a known one.
"""

from __future__ import annotations

from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.audit import note
from chassis.db import Database, world_of
from chassis.i18n import DEFAULT_LOCALE, Locale, catalogue
from chassis.tokens import Signer
from services.members.passwords import Passwords
from services.members.people import register_person
from services.members.refusals import TooManyTries, UsernameTaken, WrongPassword
from services.members.roles import hold_role
from services.members.sign_in_models import StaffAccount
from services.members.sign_ins import Tokens, open_sign_in
from services.members.tries import count_try, forgive_tries
from services.members.turns import take_turn
from services.members.vault import Vault

BY_THE_SYSTEM = "system"

log = structlog.get_logger(__name__)


async def sign_in_with_password(
    db: Database, vault: Vault, signer: Signer, passwords: Passwords, username: str, password: str, address: str
) -> Tokens:
    """A sign-in for the right password; WrongPassword otherwise, TooManyTries for a username tried too often.

    `address` is where the request comes from.

    It commits twice, because no transaction waits for the hashing: first the try, then what came of it.
    """
    username = username.lower()
    tried = vault.index("username", username), vault.index("address", address)
    async with passwords.slot():
        async with db.transaction() as session:
            wait_s = await count_try(session, *tried)
            account = await session.get(StaffAccount, username)
        if wait_s:
            raise TooManyTries(wait_s=wait_s)
        is_right = await passwords.matches(password, account.password_hash if account else None)
    if account is None or not is_right:
        raise WrongPassword()
    async with db.transaction() as session:
        await forgive_tries(session, *tried)
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
