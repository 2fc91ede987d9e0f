"""An event has its effect once; what fails waits for its retry and holds back its own thing only."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from chassis import db as db_module
from chassis import inbox as inbox_module
from chassis.db import Database, is_down
from chassis.inbox import KEEP_INBOX_DAYS, Inbox, forget_old_events
from chassis.parked import ATTEMPTS_MAX
from chassis.tables import inbox as inbox_table
from chassis.tables import parked
from chassis.world import World
from contracts.event import Envelope, Event
from contracts.members import PersonChanged, PersonRegistered
from tests.chassis.parts import (
    ForgetfulInbox,
    HeedlessInbox,
    count_of,
    documents,
    effects,
    must_fail,
    registered,
    rows_of,
    setting,
)
from tests.chassis.toy import HANDLERS
from tests.harness import Databases

EVENTS = 500


class AllOrNothingInbox(Inbox):
    """A control's inbox: a batch with one bad event is parked as a whole."""

    async def _apply(self, envelopes: Sequence[Envelope[Event]]) -> None:
        try:
            await self._apply_together(envelopes)
        except Exception as error:
            for envelope in envelopes:
                await self._park(envelope, error)


async def deliver_many_times(databases: Databases, inbox_type: type[Inbox] = Inbox) -> None:
    """Each event one to five times, in batches of all sizes, through two copies of the service at once."""
    rng = random.Random(500)
    async with setting(databases) as stage:
        first = await stage.database()
        copies = [inbox_type(first, HANDLERS), inbox_type(await stage.database(first.url), HANDLERS)]
        envelopes = [registered() for _ in range(EVENTS)]
        letters = [envelope for envelope in envelopes for _ in range(rng.randint(1, 5))]
        rng.shuffle(letters)

        async def consume(copy: Inbox, mine: list[Envelope[Any]]) -> None:
            while mine:
                size = rng.randint(1, 40)
                await copy.receive(documents(*mine[:size]))
                del mine[:size]

        await asyncio.gather(*(consume(copies[n % 2], letters[n::4]) for n in range(4)))
        had = await effects(first)
        assert set(had) == {str(envelope.id) for envelope in envelopes}
        assert had.total() == EVENTS
        assert await count_of(first, parked) == 0


async def test_500_events_delivered_up_to_5_times_to_two_copies_have_500_effects(databases: Databases) -> None:
    await deliver_many_times(databases)


async def test_control_without_the_note_they_have_more(databases: Databases) -> None:
    await must_fail(deliver_many_times, databases, ForgetfulInbox)


async def poison_one_percent(databases: Databases, inbox_type: type[Inbox] = Inbox) -> None:
    rng = random.Random(5)
    async with setting(databases) as stage:
        db = await stage.database()
        one = inbox_type(db, HANDLERS)
        bad = set(rng.sample(range(EVENTS), EVENTS // 100))
        envelopes = [registered(locale="poison" if n in bad else "en") for n in range(EVENTS)]
        for start in range(0, EVENTS, 50):
            batch = documents(*envelopes[start : start + 50])
            await one.receive(batch)
            await one.receive(batch)
        rows = await rows_of(db, parked)
        assert {row.event_id for row in rows} == {envelopes[n].id for n in bad}
        assert {(row.cause, row.attempts, row.state) for row in rows} == {("ValueError('poison')", 1, "retry")}
        assert len({row.fingerprint for row in rows}) == 1
        had = await effects(db)
        assert set(had) == {str(envelopes[n].id) for n in range(EVENTS) if n not in bad}
        assert had.total() == EVENTS - len(bad)


async def test_one_percent_of_poison_is_parked_with_its_cause_and_the_rest_is_done(databases: Databases) -> None:
    await poison_one_percent(databases)


async def test_control_an_inbox_without_fallback_parks_the_innocent(databases: Databases) -> None:
    await must_fail(poison_one_percent, databases, AllOrNothingInbox)


class Diary:
    """Handlers that write down what they applied, and fail as long as they are told to."""

    def __init__(self) -> None:
        self.applied: list[tuple[str, int]] = []
        self.failing: set[int] = set()

    @property
    def handlers(self) -> dict[type[Event], Any]:
        return {PersonRegistered: self.write_down, PersonChanged: self.write_down}

    async def write_down(self, session: AsyncSession, envelopes: Sequence[Envelope[Any]]) -> None:
        for envelope in envelopes:
            if envelope.sequence in self.failing:
                raise ArithmeticError(envelope.sequence)
        self.applied += [(envelope.partitionkey, envelope.sequence) for envelope in envelopes]


async def queue_behind(databases: Databases, inbox_type: type[Inbox] = Inbox) -> None:
    """Version 2 of one thing fails; 3 and 4 wait and come in order after it, another thing goes on."""
    async with setting(databases) as stage:
        db, diary = await stage.database(), Diary()
        one = inbox_type(db, diary.handlers)
        ann, ben = uuid4(), uuid4()
        diary.failing = {2}
        await one.receive(documents(registered(1, person_id=ann), registered(2, person_id=ann)))
        await one.receive(documents(registered(3, person_id=ann), registered(1, person_id=ben)))
        await one.receive(documents(registered(4, person_id=ann)))
        assert sorted(diary.applied) == sorted([(str(ann), 1), (str(ben), 1)])
        assert [(row.attempts, row.cause) for row in await rows_of(db, parked)] == [
            (1, "ArithmeticError(2)"),
            (0, "waits behind an earlier event"),
            (0, "waits behind an earlier event"),
        ]
        diary.failing, diary.applied = set(), []
        assert await one.retry_due() == 0, "not before its time"
        stage.clock.advance(seconds=1)
        while await one.retry_due():
            pass
        assert diary.applied == [(str(ann), 2), (str(ann), 3), (str(ann), 4)]
        assert await rows_of(db, parked) == []


async def test_later_events_of_a_thing_queue_behind_its_failed_one_and_others_do_not(databases: Databases) -> None:
    await queue_behind(databases)


async def test_control_a_heedless_inbox_overtakes(databases: Databases) -> None:
    await must_fail(queue_behind, databases, HeedlessInbox)


async def test_a_parked_event_that_comes_again_is_parked_once_and_applied_once(databases: Databases) -> None:
    async with setting(databases) as stage:
        db, diary = await stage.database(), Diary()
        one = Inbox(db, diary.handlers)
        diary.failing = {2}
        letter = documents(registered(2))
        for _ in range(3):
            await one.receive(letter)
        assert [row.attempts for row in await rows_of(db, parked)] == [1]
        diary.failing = set()
        stage.clock.advance(seconds=1)
        await asyncio.gather(one.retry_due(), one.retry_due(), Inbox(db, diary.handlers).retry_due())
        await one.receive(letter)
        assert len(diary.applied) == 1
        assert await rows_of(db, parked) == []


async def test_what_fails_every_time_is_a_dead_letter_after_its_attempts_and_frees_the_way(
    databases: Databases,
) -> None:
    async with setting(databases) as stage:
        db, diary = await stage.database(), Diary()
        one = Inbox(db, diary.handlers)
        ann = uuid4()
        diary.failing = {2}
        await one.receive(documents(registered(2, person_id=ann), registered(3, person_id=ann)))
        pauses = []
        while (row := (await rows_of(db, parked))[0]).state == "retry":
            pauses.append((row.next_at - stage.clock()).total_seconds())
            stage.clock.time = row.next_at
            assert await one.retry_due() == 1
        assert (row.attempts, row.state) == (ATTEMPTS_MAX, "dead")
        assert pauses == [1, 5, 15, 60, 300]
        assert diary.applied == []
        await one.retry_due()
        assert diary.applied == [(str(ann), 3)]
        assert [row.state for row in await rows_of(db, parked)] == ["dead"]


@pytest.mark.parametrize(
    "document",
    [
        "",
        "not JSON",
        "{}",
        "[" * 100_000,
        registered().to_json().replace('"locale":"en"', '"locale":3'),
        registered().to_json().replace('"1.0"', '"0.3"'),
        "NUL \x00 is no text for PostgreSQL",
        "nor is half a \ud800 character",
    ],
    ids=["empty", "no-json", "no-event", "deep", "wrong-field", "old-spec", "nul", "surrogate"],
)
async def test_a_document_that_nobody_can_read_is_a_dead_letter_at_once(databases: Databases, document: str) -> None:
    async with setting(databases) as stage:
        db = await stage.database()
        one = Inbox(db, HANDLERS)
        good = registered()
        await one.receive([document, good.to_json()])
        await one.receive([document])
        [row] = await rows_of(db, parked)
        assert (row.state, row.type) == ("dead", "unreadable")
        assert row.cause.startswith("unreadable: ")
        assert set(await effects(db)) == {str(good.id)}
        assert await one.retry_due() == 0


async def test_what_the_bus_gave_up_is_a_dead_letter_as_it_was_and_holds_up_nothing(databases: Databases) -> None:
    async with setting(databases) as stage:
        db, diary = await stage.database(), Diary()
        one, ann = Inbox(db, diary.handlers), uuid4()
        [given_up] = documents(registered(1, person_id=ann))
        for _ in range(2):
            await one.bury([given_up, "no JSON \0"])
        rows = await rows_of(db, parked)
        assert [row.document for row in rows] == [given_up, "no JSON \N{REPLACEMENT CHARACTER}"]
        assert {(row.state, row.cause.partition(":")[0]) for row in rows} == {("dead", "given up by the bus")}
        assert await one.retry_due() == 0
        await one.receive(documents(registered(2, person_id=ann)))
        assert diary.applied == [(str(ann), 2)]


class LateInbox(Inbox):
    """Another copy has its whole turn between this one's look at what is due and its own try."""

    other: Inbox

    async def _retry(self, row_id: int) -> None:
        await self.other.retry_due()
        await super()._retry(row_id)


async def counts_one_attempt_a_turn(databases: Databases, fast_by_s: float = 0) -> None:
    """Two copies see the same event due; the one that comes late finds it tried already."""
    async with setting(databases) as stage:
        db, diary = await stage.database(), Diary()
        world = World(now=lambda: stage.clock() + timedelta(seconds=fast_by_s))
        stage.opened.append(Database(db.url, world))
        late = LateInbox(stage.opened[-1], diary.handlers)
        late.other = Inbox(db, diary.handlers)
        diary.failing = {2}
        await late.other.receive(documents(registered(2)))
        stage.clock.advance(seconds=1)
        await late.retry_due()
        assert [row.attempts for row in await rows_of(db, parked)] == [2]


async def test_two_copies_count_one_attempt_where_both_see_that_it_is_due(databases: Databases) -> None:
    await counts_one_attempt_a_turn(databases)


async def test_control_a_copy_for_which_it_is_due_again_counts_another(databases: Databases) -> None:
    await must_fail(counts_one_attempt_a_turn, databases, fast_by_s=60)


async def test_while_the_database_is_down_nothing_is_decided_and_no_attempt_counted(databases: Databases) -> None:
    async with setting(databases) as stage:
        db = await stage.database("postgresql+asyncpg://nobody:x@127.0.0.1:9/nowhere")
        with pytest.raises(ConnectionRefusedError):
            await Inbox(db, HANDLERS).receive(documents(registered(), registered()))


class CutOff:
    """A handler whose connection the server closes, as often as told."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.done = 0

    async def count(self, session: AsyncSession, envelopes: Sequence[Envelope[Any]]) -> None:
        if self.times:
            self.times -= 1
            await session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        self.done += len(envelopes)


async def test_a_lost_connection_is_no_attempt_and_the_letter_comes_again(databases: Databases) -> None:
    async with setting(databases) as stage:
        db, handler = await stage.database(), CutOff(times=2)
        one = Inbox(db, {PersonRegistered: handler.count})
        letter = documents(registered(), registered())
        for _ in range(2):
            with pytest.raises(DBAPIError) as caught:
                await one.receive(letter)
            assert is_down(caught.value)
            assert await count_of(db, parked) == 0
            assert await count_of(db, inbox_table) == 0
        await one.receive(letter)
        assert handler.done == 2
        assert await count_of(db, inbox_table) == 2


async def test_a_retry_during_which_the_connection_is_lost_counts_no_attempt(databases: Databases) -> None:
    async with setting(databases) as stage:
        db, handler = await stage.database(), CutOff(times=1)
        await Inbox(db, HANDLERS).receive(documents(registered(locale="poison")))
        stage.clock.advance(seconds=1)
        one = Inbox(db, {PersonRegistered: handler.count})
        with pytest.raises(DBAPIError):
            await one.retry_due()
        assert [row.attempts for row in await rows_of(db, parked)] == [1]
        await one.retry_due()
        assert (handler.done, await rows_of(db, parked)) == (1, [])


async def waits_for_a_lock(databases: Databases) -> None:
    """Another copy holds what a handler needs, for longer than anybody waits."""
    async with setting(databases) as stage:
        db = await stage.database()
        done: list[Envelope[Any]] = []

        async def lock(session: AsyncSession, envelopes: Sequence[Envelope[Any]]) -> None:
            await session.execute(text("SELECT pg_advisory_xact_lock(7)"))
            done.extend(envelopes)

        one = Inbox(db, {PersonRegistered: lock})
        letters = documents(*(registered() for _ in range(5)))
        async with db.engine.connect() as other, other.begin():
            await other.execute(text("SELECT pg_advisory_xact_lock(7)"))
            with suppress(DBAPIError):
                await one.receive(letters)
            assert await count_of(db, parked) == 0
        await one.receive(letters)
        assert len(done) == 5
        assert await count_of(db, parked) == 0


async def test_an_event_that_waits_too_long_for_a_lock_counts_no_attempt_and_comes_again(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db_module, "LOCK_TIMEOUT_MS", 50)
    await waits_for_a_lock(databases)


async def test_control_where_that_counts_as_a_failure_the_innocent_are_parked(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db_module, "LOCK_TIMEOUT_MS", 50)
    monkeypatch.setattr(inbox_module, "is_lock_timeout", lambda _: False)
    await must_fail(waits_for_a_lock, databases)


async def test_a_deadlock_is_tried_again_at_once(databases: Databases) -> None:
    async with setting(databases) as stage:
        db, attempts = await stage.database(), []

        async def collide(session: AsyncSession, envelopes: Sequence[Envelope[Any]]) -> None:
            attempts.append(len(envelopes))
            if len(attempts) < 3:
                await session.execute(text("DO $$ BEGIN RAISE deadlock_detected; END $$"))

        await Inbox(db, {PersonRegistered: collide}).receive(documents(registered(), registered()))
        assert attempts == [2, 2, 2]
        assert await count_of(db, parked) == 0


async def test_old_notes_are_forgotten_once_no_bus_holds_the_letter(databases: Databases) -> None:
    async with setting(databases) as stage:
        db = await stage.database()
        one = Inbox(db, HANDLERS)
        await one.receive(documents(registered()))
        stage.clock.advance(days=KEEP_INBOX_DAYS + 1)
        await one.receive(documents(registered()))
        async with db.transaction() as session:
            await forget_old_events(session, stage.clock())
        assert await count_of(db, inbox_table) == 1
