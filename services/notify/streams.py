"""Each person's live stream: items numbered without gaps, and followed from any number on.

Numbers are given under the lock of the person's row, held until the commit: who sees a number sees all before it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Row, bindparam, event, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from chassis.arrays import arrays, insert_arrays, json
from chassis.background import wait_at_most
from chassis.db import Database, is_down
from services.notify.models import Stream, StreamItem, StreamKind
from services.notify.wakes import Wakes, wake_readers_after_commit

FOLLOW_BATCH_MAX = 100
# Between looks at what ends a stream (its token, a sign-out, the process).
LOOK_EVERY_S = 1.0
_PENDING = "stream_items"

log = structlog.get_logger(__name__)

_NUMBERED = ("person_id", "last_seq")
_more = insert_arrays(Stream, _NUMBERED)
_NUMBER = _more.on_conflict_do_update(
    index_elements=["person_id"], set_={"last_seq": Stream.last_seq + _more.excluded.last_seq}
).returning(Stream.person_id, Stream.last_seq)
_ADDED = ("person_id", "seq", "kind", "data")
_ADD = insert_arrays(StreamItem, _ADDED)
_ITEMS = (
    select(StreamItem.seq, StreamItem.kind, StreamItem.data)
    .where(StreamItem.person_id == bindparam("person"), StreamItem.seq > bindparam("after"))
    .order_by(StreamItem.seq)
    .limit(FOLLOW_BATCH_MAX)
)


@dataclass(frozen=True, slots=True)
class NewItem:
    """An item that has no number yet."""

    person_id: UUID
    kind: StreamKind
    data: dict[str, Any]


def add_items(session: AsyncSession, items: Sequence[NewItem]) -> None:
    """Add the items to their people's streams, in this order, when the transaction commits."""
    if not items:
        return
    if _PENDING not in session.info:
        session.info[_PENDING] = []
        # One transaction applies many runs of events. Numbered at its end, all its people are locked in one sorted
        # statement; numbered run by run, two transactions would lock the same people in a circle.
        event.listen(session.sync_session, "before_commit", _number, once=True)
    session.info[_PENDING].extend(items)
    wake_readers_after_commit(session, frozenset(item.person_id for item in items))


def _number(session: Session) -> None:
    items: list[NewItem] = session.info.pop(_PENDING)
    counts = Counter(item.person_id for item in items)
    rows = [(person_id, counts[person_id]) for person_id in sorted(counts)]
    numbered = session.execute(_NUMBER, arrays(_NUMBERED, rows))
    last = {row.person_id: row.last_seq - counts[row.person_id] for row in numbered}
    values = []
    for item in items:
        last[item.person_id] += 1
        values.append((item.person_id, last[item.person_id], item.kind, json(item.data)))
    session.execute(_ADD, arrays(_ADDED, values))


async def start_position(session: AsyncSession, person_id: UUID, last_seen: int | None) -> int:
    """The number to go on after: the last one seen; the stream's end for who has seen none, or a number never given."""
    end = await session.scalar(select(Stream.last_seq).where(Stream.person_id == person_id)) or 0
    return end if last_seen is None else min(last_seen, end)


async def follow(
    db: Database, wakes: Wakes, person_id: UUID, after: int, is_open: Callable[[], bool]
) -> AsyncGenerator[Sequence[Row[Any]], None]:
    """The person's items after number `after`, in order, old ones and then new ones as they come, while `is_open`.

    It ends, too, for who came first of too many readers. No connection is held while waiting. While the database is
    down the reader waits too.
    """
    with wakes.reading(person_id) as woken:

        def goes_on() -> bool:
            return is_open() and wakes.is_reading(person_id, woken)

        while goes_on():
            woken.clear()
            try:
                items = await _items(db, person_id, after)
            except Exception as error:
                if not is_down(error):
                    raise
                log.warning("stream_interrupted", cause=type(error).__name__)
                await asyncio.sleep(LOOK_EVERY_S)
                continue
            if items:
                after = items[-1].seq
                yield items
                continue
            while goes_on() and not woken.is_set():
                await wait_at_most(woken, LOOK_EVERY_S)


async def _items(db: Database, person_id: UUID, after: int) -> Sequence[Row[Any]]:
    return await db.read(_ITEMS, {"person": person_id, "after": after})


class StreamWatch:
    """Sees what other copies of this service wrote: one query for all streams read in this process."""

    def __init__(self, db: Database, wakes: Wakes) -> None:
        self._db = db
        self._wakes = wakes
        self._ends: dict[UUID, int] = {}

    async def look(self) -> None:
        """Wake the readers of each stream that has grown since the last look."""
        people = self._wakes.people
        if not people:
            self._ends = {}
            return
        async with self._db.transaction() as session:
            rows = await session.execute(select(Stream.person_id, Stream.last_seq).where(Stream.person_id.in_(people)))
            ends = {row.person_id: row.last_seq for row in rows}
        self._wakes.wake_readers(person_id for person_id, end in ends.items() if self._ends.get(person_id) != end)
        self._ends = ends
