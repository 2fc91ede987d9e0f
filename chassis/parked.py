"""Parked events: what could not be handled is a row, tried again with growing pauses, and at last a dead letter.

The rows of `parked` are written here; `chassis.inbox` decides what becomes one, and when it is its turn.
"""

from __future__ import annotations

import hashlib
import logging
from datetime import timedelta
from uuid import NAMESPACE_URL, UUID, uuid5

import structlog
from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.db import world_of
from chassis.tables import parked

ATTEMPTS_MAX = 6
RETRY_PAUSE_S = (1, 5, 15, 60, 300)
CAUSE_MAX = 2000

log = structlog.get_logger(__name__)


async def park(
    session: AsyncSession,
    event_id: UUID,
    type: str,  # noqa: A002 - CloudEvents' word
    partition_key: str,
    document: str,
    cause: str,
    *,
    attempts: int = 0,
    state: str = "retry",
) -> None:
    """Keep an event for its next attempt, or (`dead`) for somebody to look at; it may be there already."""
    now = world_of(session).now()
    statement = insert(parked).values(
        event_id=event_id,
        type=type,
        partition_key=partition_key,
        document=document,
        state=state,
        attempts=attempts,
        next_at=now + pause_after(attempts),
        cause=cause[:CAUSE_MAX],
        fingerprint=fingerprint(type, cause),
        parked_at=now,
    )
    await session.execute(statement.on_conflict_do_nothing())


async def bury(session: AsyncSession, document: str, cause: str) -> None:
    """A document that nobody can make sense of is a dead letter at once: a second look would not help."""
    log.error("event_buried", cause=cause)
    # PostgreSQL keeps no NUL and no lone surrogate.
    document = document.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
    event_id = uuid5(NAMESPACE_URL, document)
    await park(session, event_id, "unreadable", "unreadable", document, cause, attempts=ATTEMPTS_MAX, state="dead")


async def count_attempt(session: AsyncSession, row_id: int, error: Exception) -> None:
    """Note that another attempt failed, the last one perhaps."""
    found = await session.execute(select(parked.c.attempts, parked.c.type).where(parked.c.id == row_id))
    row = found.one_or_none()
    if row is None:
        return
    attempts, cause = row.attempts + 1, repr(error)
    dead = attempts >= ATTEMPTS_MAX
    state = "dead" if dead else "retry"
    log.log(logging.ERROR if dead else logging.WARNING, "event_retry_failed", type=row.type, state=state, cause=cause)
    await session.execute(
        update(parked)
        .where(parked.c.id == row_id)
        .values(
            attempts=attempts,
            state=state,
            next_at=world_of(session).now() + pause_after(attempts),
            cause=cause[:CAUSE_MAX],
            fingerprint=fingerprint(row.type, cause),
        )
    )


def pause_after(attempts: int) -> timedelta:
    """How long an event rests after so many attempts."""
    return timedelta(seconds=RETRY_PAUSE_S[min(attempts, len(RETRY_PAUSE_S)) - 1] if attempts else 0)


def fingerprint(kind: str, cause: str) -> str:
    """Dead letters with the same type and first line of cause belong together."""
    return hashlib.sha256(f"{kind}\n{cause.splitlines()[0] if cause else ''}".encode()).hexdigest()[:16]
