"""A toy event in two versions, and a listener of two releases: one that knows the first, and one that knows both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncSession

from chassis.db import opened, world_of
from chassis.inbox import Handlers, Inbox
from contracts.event import EVENT_TYPES, Envelope, Event
from tests.chassis.parts import Setting
from tests.chassis.toy import Note
from tests.harness import Clock

GOLDEN = Path(__file__).parent.parent / "contracts" / "older" / "linli.toy.thing_said.v1.json"


class ThingSaidV1(Event, type="linli.toy.thing_said.v1", key="thing_id"):
    """As the first release told it: the words in one language."""

    thing_id: UUID
    language: str
    words: str


class ThingSaid(Event, type="linli.toy.thing_said.v2", key="thing_id"):
    """As it is told today: the words by language."""

    thing_id: UUID
    words: dict[str, str]


VERSIONS = (ThingSaidV1, ThingSaid)
for declared in VERSIONS:
    del EVENT_TYPES[declared.type]  # known only within `knowing`


@contextmanager
def knowing(*kinds: type[Event]) -> Iterator[None]:
    """The contracts of a release."""
    EVENT_TYPES.update({kind.type: kind for kind in kinds})
    try:
        yield
    finally:
        for kind in kinds:
            del EVENT_TYPES[kind.type]


def said(sequence: int, thing_id: UUID, version: type[Event]) -> Envelope[Event]:
    fact: Event = ThingSaid(thing_id=thing_id, words={"en": str(sequence)})
    if version is ThingSaidV1:
        fact = ThingSaidV1(thing_id=thing_id, language="en", words=str(sequence))
    return Envelope(uuid4(), fact, sequence, Clock()())


class Listener:
    """The handlers of one release, as the rule wants them: the one for v1 translates and calls the one for v2."""

    def __init__(self, heard: list[tuple[str, int, dict[str, str]]], *kinds: type[Event]) -> None:
        self._heard = heard
        every: Handlers = {ThingSaidV1: self._hear_v1, ThingSaid: self._hear}
        self.handlers: Handlers = {kind: every[kind] for kind in kinds}

    async def _hear_v1(self, session: AsyncSession, envelopes: Sequence[Envelope[ThingSaidV1]]) -> None:
        await self._hear(session, [translated(envelope) for envelope in envelopes])

    async def _hear(self, session: AsyncSession, envelopes: Sequence[Envelope[ThingSaid]]) -> None:
        for envelope in envelopes:
            session.add(Note(id=world_of(session).new_id(), said=str(envelope.id), by=envelope.data.thing_id))
        await session.flush()
        told = [(envelope.partitionkey, envelope.sequence, envelope.data.words) for envelope in envelopes]
        opened(session).after_commit.append(lambda: self._heard.extend(told))


def translated(old: Envelope[ThingSaidV1]) -> Envelope[ThingSaid]:
    fact = ThingSaid(thing_id=old.data.thing_id, words={old.data.language: old.data.words})
    return Envelope(old.id, fact, old.sequence, old.time, old.requestid)


class Rollout:
    """A copy of the old release and one of the new on one database, and what both heard."""

    def __init__(self, old: Inbox, new: Inbox, heard: list[tuple[str, int, dict[str, str]]]) -> None:
        self.old, self.new, self.heard = old, new, heard


async def roll_out(stage: Setting, old_type: type[Inbox], new_type: type[Inbox] = Inbox) -> Rollout:
    db, heard = await stage.database(), list[tuple[str, int, dict[str, str]]]()
    old = old_type(db, Listener(heard, ThingSaidV1).handlers)
    return Rollout(old, new_type(await stage.database(db.url), Listener(heard, *VERSIONS).handlers), heard)
