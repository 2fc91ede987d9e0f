"""Wakes, in this process and after commit, who waits for what was written: the sender, and readers of live streams."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from chassis.db import Database, opened

_OPTION = "notify_wakes"
# A person's phones, tabs and store screens; each stream takes a connection from everybody's.
READERS_MAX = 20


class Wakes:
    """Who waits in this process. Waking is a hint: everyone who waits looks at the tables now and then all the same."""

    def __init__(self) -> None:
        self.sender = asyncio.Event()
        self._readers: dict[UUID, dict[asyncio.Event, None]] = {}

    def attach(self, db: Database) -> None:
        """Let handlers, which get no more than a session, find these by the session's engine."""
        db.engine.sync_engine.update_execution_options(**{_OPTION: self})

    @property
    def people(self) -> frozenset[UUID]:
        """Whose streams are read here."""
        return frozenset(self._readers)

    @contextmanager
    def reading(self, person_id: UUID) -> Iterator[asyncio.Event]:
        """An event that is set whenever this person's stream has something new.

        Of more than `READERS_MAX` readers the one who came first is woken, and `is_reading` no more.
        """
        woken = asyncio.Event()
        readers = self._readers.setdefault(person_id, {})
        readers[woken] = None
        if len(readers) > READERS_MAX:
            oldest = next(iter(readers))
            del readers[oldest]
            oldest.set()
        try:
            yield woken
        finally:
            readers.pop(woken, None)
            if not readers:
                self._readers.pop(person_id, None)

    def is_reading(self, person_id: UUID, woken: asyncio.Event) -> bool:
        """Whether the reader with this event has not had to give way to a later one."""
        return woken in self._readers.get(person_id, ())

    def wake_readers(self, people: Iterable[UUID]) -> None:
        """Wake everyone who reads the stream of one of these people."""
        for person_id in people:
            for woken in self._readers.get(person_id, ()):
                woken.set()


def wake_sender_after_commit(session: AsyncSession) -> None:
    """There is something to send once this transaction has committed."""
    wakes = _wakes_of(session)
    if wakes is not None:
        opened(session).after_commit.append(wakes.sender.set)


def wake_readers_after_commit(session: AsyncSession, people: frozenset[UUID]) -> None:
    """These people's streams have something new once this transaction has committed."""
    wakes = _wakes_of(session)
    if wakes is not None:
        opened(session).after_commit.append(lambda: wakes.wake_readers(people))


def _wakes_of(session: AsyncSession) -> Wakes | None:
    found: Wakes | None = session.get_bind().get_execution_options().get(_OPTION)
    return found
