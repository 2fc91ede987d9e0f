"""Parked events: what could not be handled is a row, tried again with growing pauses, and at last a dead letter.

The rows of `parked` are written and found here; `chassis.inbox` decides what becomes one. Of a thing's rows only the
oldest is tried; the others rest until it has gone, so that many that wait cost nothing.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Sequence
from datetime import timedelta
from uuid import NAMESPACE_URL, UUID, uuid5

import structlog
from sqlalchemy import ColumnElement, FromClause, Text, bindparam, func, literal_column, select, true, update
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.db import world_of
from chassis.tables import parked

# In place of the type of what was buried.
UNREADABLE = "unreadable"
ATTEMPTS_MAX = 6
RETRY_PAUSE_S = (1, 5, 15, 60, 300)
CAUSE_MAX = 2000
# How many due rows are looked at together.
DUE_MAX = 200
# A row that waits behind another is looked at again when that one has gone, and in any case after this time.
BEHIND_PAUSE = timedelta(minutes=5)


def _waits(table: FromClause) -> ColumnElement[bool]:
    # As the partial indexes say it, also in a plan for any parameters.
    return table.c.state == literal_column("'retry'")


_keys = func.unnest(bindparam("keys", type_=ARRAY(Text))).table_valued("key", name="keys").render_derived()
_head = (
    select(parked.c.id)
    .where(_waits(parked), parked.c.partition_key == _keys.c.key)
    .order_by(parked.c.id)
    .limit(1)
    # Shared with who parks behind it: while they do, it neither goes nor dies, and so lets them follow.
    .with_for_update(read=True)
    .lateral()
)
_HELD = select(_keys.c.key).select_from(_keys.join(_head, true()))

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
    pause: timedelta | None = None,
) -> None:
    """Keep an event for its next attempt, or (`dead`) for somebody to look at; it may be there already.

    It rests for `pause`, or as long as so many attempts call for.
    """
    now = world_of(session).now()
    statement = insert(parked).values(
        event_id=event_id,
        type=type,
        partition_key=partition_key,
        document=document,
        state=state,
        attempts=attempts,
        next_at=now + (pause_after(attempts) if pause is None else pause),
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
    # A key of its own: what it is about is unknown, and when it is replayed and fails again, nothing waits behind it.
    await park(session, event_id, UNREADABLE, str(event_id), document, cause, attempts=ATTEMPTS_MAX, state="dead")


async def held(session: AsyncSession, keys: Collection[str]) -> set[str]:
    """Of the things with these partition keys, those of which an event waits for its retry."""
    return set((await session.scalars(_HELD, {"keys": list(keys)})).all())


async def due(session: AsyncSession, mine: ColumnElement[bool]) -> Sequence[int]:
    """Ids of rows to try now, each the oldest of its thing; `mine` says which this release can handle.

    What is due and has an older one before it is put off until that has gone.
    """
    now = world_of(session).now()
    seen = (
        select(parked.c.id, parked.c.partition_key)
        .where(_waits(parked), parked.c.next_at <= now, mine)
        .order_by(parked.c.next_at)
        .limit(DUE_MAX)
        .with_for_update(skip_locked=True)
        .cte("seen")
    )
    older = parked.alias("older")
    head = (
        select(older.c.id)
        .where(_waits(older), older.c.partition_key == seen.c.partition_key)
        .order_by(older.c.id)
        .limit(1)
        .lateral()
    )
    rows = (await session.execute(select(seen.c.id, head.c.id.label("head")).join(head, true()))).all()
    behind = [row.id for row in rows if row.id != row.head]
    if behind:
        await session.execute(update(parked).where(parked.c.id.in_(behind)).values(next_at=now + BEHIND_PAUSE))
    return sorted(row.id for row in rows if row.id == row.head)


async def let_next_follow(session: AsyncSession, partition_key: str) -> None:
    """The oldest event of a thing has gone: what waited behind it is due."""
    oldest = (
        select(func.min(parked.c.id)).where(_waits(parked), parked.c.partition_key == partition_key).scalar_subquery()
    )
    now = world_of(session).now()
    await session.execute(update(parked).where(parked.c.id == oldest, parked.c.next_at > now).values(next_at=now))


async def count_attempt(session: AsyncSession, row_id: int, error: Exception) -> None:
    """Note that another attempt failed, the last one perhaps."""
    mine = select(parked.c.attempts, parked.c.type, parked.c.partition_key).where(parked.c.id == row_id)
    found = await session.execute(mine)
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
    if dead:
        await let_next_follow(session, row.partition_key)


def pause_after(attempts: int) -> timedelta:
    """How long an event rests after so many attempts."""
    return timedelta(seconds=RETRY_PAUSE_S[min(attempts, len(RETRY_PAUSE_S)) - 1] if attempts else 0)


def fingerprint(kind: str, cause: str) -> str:
    """Dead letters with the same type and first line of cause belong together."""
    return hashlib.sha256(f"{kind}\n{cause.splitlines()[0] if cause else ''}".encode()).hexdigest()[:16]
