"""What the tests of the chassis put together: databases in one world, crashes, and what became of the facts."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.bus import Letter, Subscriber
from chassis.db import Database
from chassis.inbox import Inbox
from chassis.outbox import Relay, emit
from chassis.tables import outbox, parked
from chassis.world import World
from contracts.event import Envelope, Event
from contracts.members import PersonRegistered
from tests.chassis.buses import Wire, eventually, in_process
from tests.chassis.toy import HANDLERS, SERVICE, Note
from tests.harness import Clock, Databases

REGISTERED = PersonRegistered.routing_key()


class Crash(Exception):
    """Where the process would have died."""


@dataclass
class Failpoints:
    """Crashes at the n-th call of an armed failpoint, once."""

    armed: dict[str, int] = field(default_factory=dict)
    crashes: int = 0

    def __call__(self, name: str) -> None:
        if name not in self.armed:
            return
        self.armed[name] -= 1
        if self.armed[name] <= 0:
            del self.armed[name]
            self.crashes += 1
            raise Crash(name)

    def arm(self, name: str, at_call: int = 1) -> None:
        self.armed[name] = at_call


@dataclass
class Setting:
    """One world: a clock, failpoints, and databases of the toy service."""

    databases: Databases
    clock: Clock = field(default_factory=Clock)
    failpoints: Failpoints = field(default_factory=Failpoints)
    opened: list[Database] = field(default_factory=list)

    @property
    def world(self) -> World:
        return World(now=self.clock, random=random.Random(1), failpoint=self.failpoints)

    async def database(self, url: str | None = None) -> Database:
        """A fresh database, or one more pool for the database of the URL."""
        db = Database(url or await self.databases.fresh(SERVICE), self.world, pool_size=4)
        self.opened.append(db)
        return db


@asynccontextmanager
async def setting(databases: Databases) -> AsyncIterator[Setting]:
    made = Setting(databases)
    try:
        yield made
    finally:
        for db in made.opened:
            await db.close()


def registered(sequence: int = 1, locale: str = "en", person_id: UUID | None = None) -> Envelope[PersonRegistered]:
    """A fact of which the toy keeps count; it cannot handle the locale `poison`."""
    fact = PersonRegistered(person_id=person_id or uuid4(), locale=locale)
    return Envelope(uuid4(), fact, sequence, Clock()())


def documents(*envelopes: Envelope[Any]) -> list[str]:
    return [envelope.to_json() for envelope in envelopes]


async def tell(db: Database, count: int = 1, committed: set[str] | None = None) -> set[str]:
    """Emit facts in one transaction; returns their ids as text, and adds them to `committed` if they are true."""
    ids: set[str] = set()
    try:
        async with db.transaction() as session:
            for _ in range(count):
                emit(session, PersonRegistered(person_id=uuid4(), locale="en"), sequence=1)
            ids = {str(row["event_id"]) for row in session.info["transaction"].outbox_rows}
    except Crash as crash:
        if str(crash) != "after_commit":
            ids = set()
        raise
    finally:
        if committed is not None:
            committed |= ids
    return ids


async def effects(db: Database) -> Counter[str]:
    """How often each event had its effect."""
    async with db.transaction() as session:
        return Counter((await session.scalars(select(Note.said))).all())


async def rows_of(db: Database, table: Any) -> list[Any]:
    async with db.transaction() as session:
        return list((await session.execute(select(table).order_by(table.c.id))).all())


async def parked_in(db: Database) -> list[str]:
    async with db.transaction() as session:
        return [str(event_id) for event_id in await session.scalars(select(parked.c.event_id))]


async def count_of(db: Database, table: Any) -> int:
    async with db.transaction() as session:
        return (await session.scalar(select(func.count()).select_from(table))) or 0


async def emptied(db: Database) -> bool:
    """Whether everything told has been sent."""
    return await count_of(db, outbox) == 0


async def send_once(relay: Relay, db: Database) -> int:
    """One batch, as the elected relay would send it."""
    async with db.engine.connect() as plain:
        return await relay.send_batch(await plain.execution_options(isolation_level="AUTOCOMMIT"))


async def settle(stage: Setting, relay: Relay, sender: Database, inboxes: Sequence[Inbox]) -> None:
    """Go on, crash or no crash, until nothing is left to send and nothing waits for its retry."""
    receivers = [inbox._db for inbox in inboxes]
    for _ in range(60):
        try:
            await send_once(relay, sender)
            for inbox in inboxes:
                await inbox.retry_due()
        except Crash:
            continue
        left = await count_of(sender, outbox) + sum([await count_of(db, parked) for db in receivers])
        if not left:
            return
        stage.clock.advance(seconds=400)
    raise AssertionError("it does not settle")


@dataclass
class Line:
    """A service that tells, the relay and bus, and two services that listen, each with its database."""

    stage: Setting
    sender: Database
    relay: Relay
    inboxes: list[Inbox]

    async def settle(self, told: set[str] | None = None, within_s: float = 10) -> None:
        """Until nothing is left to send or to try again, and everything told has arrived."""
        await settle(self.stage, self.relay, self.sender, self.inboxes)
        await eventually(lambda: self._have(told or set()), within_s)
        await settle(self.stage, self.relay, self.sender, self.inboxes)

    async def _have(self, told: set[str]) -> bool:
        return all([told <= {*await effects(inbox._db), *await parked_in(inbox._db)} for inbox in self.inboxes])

    async def effects(self) -> list[Counter[str]]:
        return [await effects(inbox._db) for inbox in self.inboxes]


@asynccontextmanager
async def lay(
    stage: Setting, wire: Wire = in_process, *, relay: type[Relay] = Relay, inbox: type[Inbox] = Inbox
) -> AsyncIterator[Line]:
    """Put the line together; a control gives a weaker relay or inbox."""
    sender = await stage.database()
    inboxes = [inbox(await stage.database(), HANDLERS) for _ in range(2)]
    subscribers = [
        Subscriber(f"listener-{number}", frozenset({REGISTERED}), one.receive, one.bury)
        for number, one in enumerate(inboxes)
    ]
    async with wire(*subscribers) as bus:
        yield Line(stage, sender, relay(sender, bus), inboxes)


class ForgetfulInbox(Inbox):
    """The control's inbox: it takes every event for a new one."""

    async def _note(self, session: Any, envelopes: Sequence[Envelope[Event]]) -> list[Envelope[Event]]:
        await super()._note(session, envelopes)
        return list(envelopes)


class HeedlessInbox(Inbox):
    """A control's inbox: later events do not queue behind a failed one."""

    async def _hold_back(self, session: Any, envelopes: Sequence[Envelope[Event]]) -> list[Envelope[Event]]:
        return list(envelopes)


class HastyRelay(Relay):
    """A control's relay: it deletes the rows before it publishes them."""

    async def send_batch(self, connection: AsyncConnection) -> int:
        rows = (await connection.execute(select(outbox).order_by(outbox.c.id))).all()
        await connection.execute(delete(outbox).where(outbox.c.id.in_([row.id for row in rows])))
        self._db.world.failpoint("relay.before_publish")
        await self._bus.publish([Letter(row.event_id, row.routing_key, row.document) for row in rows])
        return len(rows)


async def must_fail(check: Callable[..., Awaitable[object]], *arguments: Any, **weaker: Any) -> None:
    """A control: with the weaker part, the check sees the damage."""
    with pytest.raises(AssertionError):
        await check(*arguments, **weaker)
