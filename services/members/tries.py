"""Tries of a password, counted before the password is looked at, so that no burst gets past a cap.

Each address has a cap for a username; all addresses together that are not familiar to it have another one. Neither
depends on whether there is such a username.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from math import ceil
from typing import Any

from sqlalchemy import case, delete, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.db import world_of
from services.members.familiar import is_familiar, make_familiar
from services.members.sign_in_models import AddressTries, PasswordTries

ADDRESS_TRIES_MAX = 10
ADDRESS_WINDOW = timedelta(minutes=15)
STRANGERS_TRIES_MAX = 50
STRANGERS_WINDOW = timedelta(hours=1)


async def count_try(session: AsyncSession, username: bytes, address: bytes) -> int:
    """Count a try for the username from the address (both indexes); for how many seconds none is taken, zero: it is."""
    here = {"username_index": username, "address_index": address}
    wait_s = await _count(session, AddressTries, here, ADDRESS_TRIES_MAX, ADDRESS_WINDOW)
    if wait_s or await is_familiar(session, username, address):
        return wait_s
    return await _count(session, PasswordTries, {"username_index": username}, STRANGERS_TRIES_MAX, STRANGERS_WINDOW)


async def forgive_tries(session: AsyncSession, username: bytes, address: bytes) -> None:
    """The password was right: nothing is held against the address, which is familiar from now on. Strangers' wrong
    tries stay."""
    mine = (AddressTries.username_index == username) & (AddressTries.address_index == address)
    await session.execute(delete(AddressTries).where(mine))
    if not await is_familiar(session, username, address):
        counted = (PasswordTries.username_index == username) & (PasswordTries.tries > 0)
        await session.execute(update(PasswordTries).where(counted).values(tries=PasswordTries.tries - 1))
    await make_familiar(session, username, address)


async def forget_old_tries(session: AsyncSession, now: datetime) -> None:
    await session.execute(delete(AddressTries).where(AddressTries.since < now - ADDRESS_WINDOW))
    await session.execute(delete(PasswordTries).where(PasswordTries.since < now - STRANGERS_WINDOW))


async def _count(
    session: AsyncSession,
    table: type[AddressTries] | type[PasswordTries],
    key: dict[str, Any],
    most: int,
    window: timedelta,
) -> int:
    now = world_of(session).now()
    over = table.since <= now - window
    counted = await session.execute(
        insert(table)
        .values(**key, tries=1, since=now)
        .on_conflict_do_update(
            index_elements=list(key),
            set_={"tries": case((over, 1), else_=table.tries + 1), "since": case((over, now), else_=table.since)},
        )
        .returning(table.tries, table.since)
    )
    tries, since = counted.one()
    return 0 if tries <= most else max(1, ceil((since + window - now).total_seconds()))
