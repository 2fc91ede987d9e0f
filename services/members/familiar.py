"""Addresses from which somebody has signed in before, by phone or username, as keyed hashes.

Whoever tries a username or asks for codes from elsewhere shares the caps for strangers. From a familiar address one has
caps of one's own, which no stranger can use up: a lock-out cannot be done to somebody, except by their own household.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import delete
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.db import world_of
from services.members.sign_in_models import FamiliarAddress

FAMILIAR_FOR = timedelta(days=90)


async def is_familiar(session: AsyncSession, subject: bytes, address: bytes) -> bool:
    """Whether the subject (index of a phone or username) signed in from the address (index) within `FAMILIAR_FOR`."""
    known = await session.get(FamiliarAddress, (subject, address))
    return known is not None and world_of(session).now() < known.used_at + FAMILIAR_FOR


async def make_familiar(session: AsyncSession, subject: bytes, address: bytes) -> None:
    """Note that the subject has signed in from there."""
    now = world_of(session).now()
    await session.execute(
        insert(FamiliarAddress)
        .values(subject_index=subject, address_index=address, used_at=now)
        .on_conflict_do_update(index_elements=["subject_index", "address_index"], set_={"used_at": now})
    )


async def forget_old_addresses(session: AsyncSession, now: datetime) -> None:
    await session.execute(delete(FamiliarAddress).where(FamiliarAddress.used_at <= now - FAMILIAR_FOR))
