"""Tickets: the short codes with which a party is checked in; people read them aloud and type them."""

from __future__ import annotations

import random

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.arrays import among
from chassis.db import world_of
from services.orders.models import Booking

TICKET_CHARACTERS = 8
# Without the characters that look like one another: 0 O, 1 I L.
TICKET_ALPHABET = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"

_TAKEN = select(Booking.ticket).where(among(Booking.ticket, "drawn"))


async def new_tickets(session: AsyncSession, count: int) -> list[str]:
    """Codes that no booking has; a race for the same one is for the unique index to decide."""
    randomness = world_of(session).random
    codes: set[str] = set()
    while len(codes) < count:
        drawn = {new_code(randomness) for _ in range(count - len(codes))}
        codes |= drawn.difference(await session.scalars(_TAKEN, {"drawn": list(drawn)}))
    return sorted(codes)


def new_code(randomness: random.Random) -> str:
    """One code."""
    return "".join(randomness.choices(TICKET_ALPHABET, k=TICKET_CHARACTERS))


def as_printed(typed: str) -> str:
    """The code as we print it, from what somebody typed: small letters, spaces and hyphens are fine."""
    return "".join(c for c in typed.upper() if c not in " -")
