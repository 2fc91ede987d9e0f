"""A committed fact is sent, whatever crashes; one that was rolled back is never sent."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import delete, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import outbox as outbox_module
from chassis.background import running
from chassis.bus import Letter
from chassis.inbox import Inbox
from chassis.outbox import Relay
from chassis.tables import outbox
from contracts.event import parse
from contracts.members import PersonRegistered
from tests.chassis.buses import Listener, Wire, eventually, in_process
from tests.chassis.parts import (
    Crash,
    ForgetfulInbox,
    HastyRelay,
    Setting,
    count_of,
    emptied,
    lay,
    must_fail,
    rows_of,
    send_once,
    setting,
    tell,
)
from tests.harness import Databases, RecordingBus

FAILPOINTS = ["relay.before_publish", "relay.after_publish", "relay.after_delete", "before_commit", "after_commit"]
ROUNDS = 20


class CountingRelay(Relay):
    """A control's relay: it goes by `id > last`."""

    last = 0

    async def send_batch(self, connection: AsyncConnection) -> int:
        rows = (await connection.execute(select(outbox).where(outbox.c.id > self.last).order_by(outbox.c.id))).all()
        await self._bus.publish([Letter(row.event_id, row.routing_key, row.document) for row in rows])
        self.last = max([self.last, *(row.id for row in rows)])
        await connection.execute(delete(outbox).where(outbox.c.id.in_([row.id for row in rows])))
        return len(rows)


class PublicRelay(Relay):
    """A control's relay: it is never elected, it just sends."""

    async def _serve(self, connection: AsyncConnection) -> None:
        while True:
            await self.send_batch(connection)
            await asyncio.sleep(0.01)


class FlakyBus(RecordingBus):
    """Does not take letters while `down`, nor ever those in `refused`."""

    def __init__(self) -> None:
        super().__init__()
        self.down = False
        self.refused: set[str] = set()

    async def publish(self, letters: Sequence[Letter]) -> list[Exception | None]:
        taken = [not self.down and str(letter.event_id) not in self.refused for letter in letters]
        self.letters.extend(letter for letter, ok in zip(letters, taken, strict=True) if ok)
        return [None if ok else ConnectionError("no route") for ok in taken]

    def sent(self) -> list[str]:
        return [str(letter.event_id) for letter in self.letters]


async def crash_and_compare(
    databases: Databases,
    failpoint: str,
    rounds: int,
    wire: Wire = in_process,
    relay: type[Relay] = Relay,
    inbox: type[Inbox] = Inbox,
    within_s: float = 10,
) -> int:
    """Crash once a round, somewhere; in the end every committed fact must have had one effect at each listener."""
    rng = random.Random(failpoint)
    async with setting(databases) as stage, lay(stage, wire, relay=relay, inbox=inbox) as line:
        committed: set[str] = set()
        for _ in range(rounds):
            stage.failpoints.arm(failpoint, at_call=1 if failpoint.startswith("relay.") else rng.randint(1, 3))
            for _ in range(rng.randint(1, 4)):
                with suppress(Crash):
                    await tell(line.sender, rng.randint(1, 4), committed)
            with suppress(Crash):
                await send_once(line.relay, line.sender)
            await line.settle(committed, within_s)
            stage.failpoints.armed.clear()
        for had in await line.effects():
            assert not committed - set(had), "lost"
            assert not set(had) - committed, "never true"
            assert max(had.values()) == 1, "twice"
        return stage.failpoints.crashes


@pytest.mark.parametrize("failpoint", FAILPOINTS)
async def test_a_crash_loses_no_fact_and_doubles_no_effect(databases: Databases, failpoint: str, wire: Wire) -> None:
    assert await crash_and_compare(databases, failpoint, ROUNDS, wire) == ROUNDS


async def test_control_a_relay_that_deletes_first_loses_facts(databases: Databases) -> None:
    await must_fail(crash_and_compare, databases, "relay.before_publish", 4, relay=HastyRelay, within_s=0.1)


async def test_control_an_inbox_that_forgets_doubles_effects(databases: Databases) -> None:
    await must_fail(crash_and_compare, databases, "relay.after_publish", 4, inbox=ForgetfulInbox)


async def test_a_fact_of_a_transaction_that_rolled_back_is_never_sent(databases: Databases) -> None:
    async with setting(databases) as stage:
        db, bus = await stage.database(), RecordingBus()
        stage.failpoints.arm("before_commit")
        with pytest.raises(Crash):
            await tell(db, 3)
        true = await tell(db)
        await send_once(Relay(db, bus), db)
        assert {str(letter.event_id) for letter in bus.letters} == true


async def low_id_is_sent(databases: Databases, relay_type: type[Relay]) -> None:
    async with setting(databases) as stage:
        db, bus = await stage.database(), RecordingBus()
        relay = relay_type(db, bus)
        await send_once(relay, db)
        async with db.engine.connect() as slow, slow.begin():
            low = {
                "event_id": db.world.new_id(),
                "routing_key": "slow",
                "document": "{}",
                "next_at": stage.clock(),
            }
            await slow.execute(outbox.insert().values(**low))
            await tell(db, 2)
            assert await send_once(relay, db) == 2
        await send_once(relay, db)
        assert [letter.routing_key for letter in bus.letters][-1] == "slow"
        assert await count_of(db, outbox) == 0


async def test_a_fact_with_a_low_id_that_commits_late_is_not_skipped(databases: Databases) -> None:
    await low_id_is_sent(databases, Relay)


async def test_control_a_relay_that_goes_by_the_last_id_skips_it(databases: Databases) -> None:
    await must_fail(low_id_is_sent, databases, CountingRelay)


async def test_a_bus_that_fails_is_tried_again_ever_more_slowly_and_for_ever(databases: Databases) -> None:
    async with setting(databases) as stage:
        db, bus = await stage.database(), FlakyBus()
        relay = Relay(db, bus)
        [event_id] = await tell(db)
        bus.down = True
        pauses = []
        for attempt in range(1, 15):
            assert await send_once(relay, db) == 1
            assert await send_once(relay, db) == 0, "not before its time"
            [row] = await rows_of(db, outbox)
            assert (row.attempts, "no route" in row.cause) == (attempt, True)
            pauses.append((row.next_at - stage.clock()).total_seconds())
            stage.clock.time = row.next_at
        assert pauses[:7] == [1, 2, 4, 8, 16, 32, 60]
        assert max(pauses) == 60
        bus.down = False
        await send_once(relay, db)
        assert bus.sent() == [event_id]
        assert await count_of(db, outbox) == 0


async def test_a_fact_that_cannot_be_sent_holds_up_no_other(databases: Databases) -> None:
    async with setting(databases) as stage:
        db, bus = await stage.database(), FlakyBus()
        relay = Relay(db, bus)
        bus.refused = await tell(db, outbox_module.RELAY_BATCH_MAX + 5)
        others = await tell(db, 5)
        for _ in range(3):
            await send_once(relay, db)
        assert set(bus.sent()) == others
        assert {str(row.event_id) for row in await rows_of(db, outbox)} == bus.refused


async def elect(stage: Setting, relay_type: type[Relay]) -> None:
    """Two relays over one database: each letter once, and the second goes on when the first's connection dies."""
    first = await stage.database()
    second = await stage.database(first.url)
    buses = [RecordingBus(), RecordingBus()]
    async with running(relay_type(first, buses[0]).run()):
        await asyncio.sleep(0.2)
        async with running(relay_type(second, buses[1]).run()):
            expected: set[str] = set()
            for _ in range(20):
                expected |= await tell(first, 5)
                await eventually(lambda: emptied(first))
            assert Counter(all_sent(*buses)) == Counter(expected)
            assert not buses[1].letters, "only the elected one sends"
    async with running(relay_type(second, buses[1]).run()):
        last = await tell(second, 3)
        await eventually(lambda: emptied(first))
        assert set(all_sent(buses[1])) == last


def all_sent(*buses: RecordingBus) -> list[str]:
    return [str(letter.event_id) for bus in buses for letter in bus.letters]


async def held_by(db: Any) -> bool:
    async with db.transaction() as session:
        query = text(
            "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database "
            "WHERE locktype = 'advisory' AND objid = :lock AND granted AND datname = current_database()"
        )
        return bool(await session.scalar(query, {"lock": outbox_module.RELAY_LOCK}))


async def test_one_relay_of_two_is_elected(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "RELAY_POLL_S", 0.05)
    async with setting(databases) as stage:
        await elect(stage, Relay)


async def test_control_relays_without_election_send_at_once(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "RELAY_POLL_S", 0.05)
    async with setting(databases) as stage:
        await must_fail(elect, stage, PublicRelay)


async def test_another_relay_takes_over_when_the_connection_of_the_elected_dies(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "RELAY_POLL_S", 0.05)
    async with setting(databases) as stage:
        first = await stage.database()
        second = await stage.database(first.url)
        buses = [RecordingBus(), RecordingBus()]
        async with running(Relay(first, buses[0]).run()):
            await eventually(lambda: held_by(first))
            async with running(Relay(second, buses[1]).run()):
                for _ in range(3):
                    async with second.transaction() as session:
                        await session.execute(
                            text(
                                "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_database d ON d.oid = database "
                                "WHERE objid = :lock AND granted AND datname = current_database()"
                            ),
                            {"lock": outbox_module.RELAY_LOCK},
                        )
                    await tell(second, 5)
                    await eventually(lambda: emptied(second))
        assert Counter(all_sent(*buses)).most_common(1)[0][1] == 1
        assert len(all_sent(*buses)) == 15


@pytest.mark.parametrize("failpoint", ["relay.before_publish", "relay.after_publish", "relay.after_delete"])
async def test_a_relay_that_failed_is_elected_again_and_keeps_no_lock_behind(
    databases: Databases, monkeypatch: pytest.MonkeyPatch, failpoint: str
) -> None:
    monkeypatch.setattr(outbox_module, "RELAY_POLL_S", 0.05)
    async with setting(databases) as stage:
        db, bus = await stage.database(), RecordingBus()
        async with running(Relay(db, bus).run()):
            await eventually(lambda: held_by(db))
            told = set()
            for _ in range(4):
                async with asyncio.TaskGroup() as group:  # several connections in the pool
                    several = [group.create_task(tell(db)) for _ in range(3)]
                told |= set().union(*(task.result() for task in several))
                stage.failpoints.arm(failpoint)
                told |= await tell(db)
                await eventually(lambda: emptied(db))
        assert set(all_sent(bus)) == told


async def test_a_fact_is_sent_at_once_after_its_commit(databases: Databases) -> None:
    async with setting(databases) as stage:
        db, bus = await stage.database(), RecordingBus()
        async with running(Relay(db, bus).run()):
            await eventually(lambda: held_by(db))
            await asyncio.sleep(0.05)
            started = asyncio.get_running_loop().time()
            await tell(db)
            await eventually(lambda: emptied(db))
            assert asyncio.get_running_loop().time() - started < outbox_module.RELAY_POLL_S / 2


async def test_a_fact_of_a_copy_that_is_not_elected_is_sent_at_once_too(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "RELAY_POLL_S", 30)
    async with setting(databases) as stage:
        first = await stage.database()
        second = await stage.database(first.url)
        buses = [RecordingBus(), RecordingBus()]
        async with running(Relay(first, buses[0]).run()):
            await eventually(lambda: held_by(first))
            async with running(Relay(second, buses[1]).run()):
                await asyncio.sleep(0.2)
                for _ in range(3):
                    await tell(second, 5)
                    await eventually(lambda: emptied(second))
        assert (len(all_sent(buses[0])), len(all_sent(buses[1]))) == (15, 0)


async def test_a_fact_says_which_which_version_when_and_whose_request(databases: Databases) -> None:
    async with setting(databases) as stage:
        db, bus = await stage.database(), RecordingBus()
        bus.subscribe(Listener().subscriber("nobody"))
        [event_id] = await tell(db)
        await send_once(Relay(db, bus), db)
        envelope = parse(bus.letters[0].document)
        assert (str(envelope.id), envelope.sequence, envelope.time) == (event_id, 1, stage.clock())
        assert isinstance(envelope.data, PersonRegistered)
        assert envelope.requestid is None
