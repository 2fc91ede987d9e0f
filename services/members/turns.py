"""One at a time: what a transaction decides under a name, no other one decides under that name meanwhile."""

from __future__ import annotations

from hashlib import sha256

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession


async def take_turn(session: AsyncSession, kind: str, *about: object) -> None:
    """Wait for other transactions with the same name to end; the turn lasts until this one does."""
    name = "\x1f".join([kind, *(str(part) for part in about)])
    number = int.from_bytes(sha256(name.encode()).digest()[:8], signed=True)
    await session.execute(select(func.pg_advisory_xact_lock(number)))
