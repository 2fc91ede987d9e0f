"""Two releases of a service side by side, and two versions of an event: nothing is lost, doubled or out of order."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from chassis import inbox as inbox_module
from chassis.background import running
from chassis.bus import Subscriber
from chassis.db import opened
from chassis.inbox import Inbox
from chassis.outbox import Relay, emit
from chassis.parked import ATTEMPTS_MAX, RETRY_PAUSE_S
from chassis.tables import outbox, parked
from contracts.event import CloudEvent, Event, parse
from tests.chassis.buses import Wire, eventually
from tests.chassis.parts import HeedlessInbox, count_of, documents, effects, must_fail, rows_of, send_once, setting
from tests.chassis.versions import GOLDEN, VERSIONS, ThingSaid, ThingSaidV1, knowing, roll_out, said
from tests.harness import Databases


class BuryingInbox(Inbox):
    """A control's inbox: what this release does not handle is a dead letter at once."""

    async def _leave_to_another_release(self, wire: CloudEvent, document: str) -> None:
        await self._bury(document, "unknown")


class HastyInbox(Inbox):
    """A control's inbox: it parks first what it does not handle, and then does the rest."""

    async def receive(self, documents: Sequence[str]) -> None:
        await super().receive(sorted(documents, key=lambda document: parse(document).type in self._handlers))


async def retried(inbox: Inbox) -> None:
    while await inbox.retry_due():
        pass


# ---- Events of another release --------------------------------------------------------------------------------------


async def waits_for_the_new_release(
    databases: Databases, old_knows: Sequence[type[Event]], old_type: type[Inbox] = Inbox
) -> None:
    """For 50 minutes there is only an old copy; then a new one comes, and a letter is handed over once more."""
    async with setting(databases) as stage:
        rollout = await roll_out(stage, old_type)
        db = rollout.old._db
        new_facts = [said(1, uuid4(), ThingSaid) for _ in range(3)]
        old_fact = said(1, uuid4(), ThingSaidV1)
        with knowing(*old_knows):
            await rollout.old.receive(documents(*new_facts, old_fact))
            for _ in range(5):
                stage.clock.advance(minutes=10)
                await retried(rollout.old)
            assert set(await effects(db)) == {str(old_fact.id)}
            rows = [(row.state, row.attempts, row.type) for row in await rows_of(db, parked)]
            assert rows == [("retry", 0, ThingSaid.type)] * 3
        with knowing(*VERSIONS):
            await retried(rollout.new)
        with knowing(*old_knows):
            await rollout.old.receive(documents(*new_facts))
        assert await effects(db) == {str(fact.id): 1 for fact in (old_fact, *new_facts)}
        assert await count_of(db, parked) == 0


OLD_KNOWS = pytest.mark.parametrize("old_knows", [(ThingSaidV1,), VERSIONS], ids=["unknown", "known, not listened to"])


@OLD_KNOWS
async def test_what_only_the_new_release_handles_waits_for_it_and_happens_once(
    databases: Databases, old_knows: Sequence[type[Event]]
) -> None:
    await waits_for_the_new_release(databases, old_knows)


@OLD_KNOWS
async def test_control_a_release_that_buries_what_it_does_not_handle_loses_it(
    databases: Databases, old_knows: Sequence[type[Event]]
) -> None:
    await must_fail(waits_for_the_new_release, databases, old_knows, BuryingInbox)


@OLD_KNOWS
async def test_control_a_release_that_waits_for_no_other_uses_up_the_attempts(
    databases: Databases, old_knows: Sequence[type[Event]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox_module, "WAIT_FOR_RELEASE", timedelta(0))
    await must_fail(waits_for_the_new_release, databases, old_knows)


async def keeps_the_order(databases: Databases, old_type: type[Inbox] = Inbox, new_type: type[Inbox] = Inbox) -> None:
    """30 things of 8 versions each, in both versions of the fact, batch by batch to either copy."""
    chance = random.Random(8)
    async with setting(databases) as stage:
        rollout = await roll_out(stage, old_type, new_type)
        copies, db = [rollout.old, rollout.new], rollout.old._db
        things = [uuid4() for _ in range(30)]
        facts = [said(sequence, thing, chance.choice(VERSIONS)) for sequence in range(1, 9) for thing in things]
        told = list(facts)
        with knowing(*VERSIONS):
            while told:
                size = chance.randint(1, 50)
                await chance.choice(copies).receive(documents(*told[:size]))
                del told[:size]
                await chance.choice(copies).retry_due()
            await retried(rollout.new)
        for thing in things:
            assert [sequence for key, sequence, _ in rollout.heard if key == str(thing)] == list(range(1, 9))
        assert all(words == {"en": str(sequence)} for _, sequence, words in rollout.heard)
        assert await effects(db) == {str(fact.id): 1 for fact in facts}
        assert await count_of(db, parked) == 0


async def test_while_two_releases_share_a_queue_each_things_events_keep_their_order(databases: Databases) -> None:
    await keeps_the_order(databases)


async def test_control_a_new_release_that_does_not_wait_for_what_the_old_one_parked_overtakes(
    databases: Databases,
) -> None:
    await must_fail(keeps_the_order, databases, new_type=HeedlessInbox)


async def test_control_an_old_release_that_parks_before_it_applies_reverses(databases: Databases) -> None:
    await must_fail(keeps_the_order, databases, old_type=HastyInbox)


@OLD_KNOWS
async def test_what_no_release_comes_for_is_a_dead_letter_after_the_hour_and_frees_the_way(
    databases: Databases, old_knows: Sequence[type[Event]]
) -> None:
    async with setting(databases) as stage:
        rollout = await roll_out(stage, Inbox)
        old, db, thing = rollout.old, rollout.old._db, uuid4()
        with knowing(*old_knows):
            await old.receive(documents(said(1, thing, ThingSaid), said(2, thing, ThingSaidV1)))
            stage.clock.advance(minutes=59)
            assert await old.retry_due() == 0
            stage.clock.advance(minutes=1)
            pauses = []
            while True:
                assert await old.retry_due() == 1
                row = (await rows_of(db, parked))[0]
                if row.state == "dead":
                    break
                assert rollout.heard == []
                pauses.append((row.next_at - stage.clock()).total_seconds())
                stage.clock.time = row.next_at
            assert (pauses, row.attempts) == (list(RETRY_PAUSE_S), ATTEMPTS_MAX)
            assert ThingSaid.type in row.cause
            await retried(old)
        assert rollout.heard == [(str(thing), 2, {"en": "2"})]
        assert [(row.state, row.type) for row in await rows_of(db, parked)] == [("dead", ThingSaid.type)]


async def test_a_type_or_key_that_no_table_could_keep_is_a_dead_letter_and_holds_up_no_other(
    databases: Databases,
) -> None:
    async with setting(databases) as stage:
        rollout = await roll_out(stage, Inbox)
        good = said(1, uuid4(), ThingSaidV1)
        wire = json.loads(said(1, uuid4(), ThingSaid).to_json())
        odd = [{"type": "linli.toy.\0.v1"}, {"partitionkey": "\0"}, {"partitionkey": "k" * 5000}, {"type": "elsewhere"}]
        with knowing(ThingSaidV1):
            await rollout.old.receive([*(json.dumps(wire | one) for one in odd), *documents(good)])
        assert len(rollout.heard) == 1
        assert {(row.state, row.type) for row in await rows_of(rollout.old._db, parked)} == {("dead", "unreadable")}
        assert await count_of(rollout.old._db, parked) == len(odd)


# ---- Two versions of an event ---------------------------------------------------------------------------------------


async def both_versions_have_their_effect(
    databases: Databases, wire: Wire, old_type: type[Inbox] = Inbox, within_s: float = 15
) -> None:
    """The producer's outbox holds facts of both versions; the listener's copies are of both releases."""
    golden = GOLDEN.read_text(encoding="utf-8")
    async with setting(databases) as stage:
        with knowing(*VERSIONS):
            producer, rollout = await stage.database(), await roll_out(stage, old_type)
            old, new, db = rollout.old, rollout.new, rollout.new._db
            handed_to_old: list[str] = []

            async def receive_by_old(documents: Sequence[str]) -> None:
                await old.receive(documents)
                handed_to_old.extend(documents)

            # A queue that is bound to what either copy listens to.
            keys = frozenset(kind.routing_key() for kind in VERSIONS)
            copies = Subscriber("toy", keys, receive_by_old, old.bury), Subscriber("toy", keys, new.receive, new.bury)
            told = {str(parse(golden).id)}
            async with producer.transaction() as session:
                row = {"routing_key": ThingSaidV1.routing_key(), "document": golden, "next_at": stage.clock()}
                await session.execute(outbox.insert().values(event_id=parse(golden).id, **row))
            async with wire(*copies) as bus, running(old.run_retries(), new.run_retries()):
                relay = Relay(producer, bus)

                async def tell() -> bool:
                    """Tell some more, until the old copy was handed one that it does not listen to."""
                    async with producer.transaction() as session:
                        # Three a round: of an even number the broker's turns may give each copy one version for ever.
                        for version in (*VERSIONS, ThingSaid) * 3:
                            emit(session, said(1, uuid4(), version).data, sequence=1)
                        told.update(str(row["event_id"]) for row in opened(session).outbox_rows)
                    await send_once(relay, producer)
                    return any(ThingSaid.type in document for document in handed_to_old)

                await eventually(tell)
                await eventually(lambda: settled(producer, outbox))
                await eventually(lambda: had(db, told), within_s)
                await eventually(lambda: settled(db, parked), within_s)
            assert await effects(db) == dict.fromkeys(told, 1)
            key = parse(golden).partitionkey
            assert (key, 1, {"zh-CN": "远亲不如近邻"}) in rollout.heard


async def settled(db: Any, table: Any) -> bool:
    return await count_of(db, table) == 0


async def had(db: Any, told: set[str]) -> bool:
    return set(await effects(db)) == told


@pytest.fixture
def _polling_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_module, "RETRY_POLL_S", 0.02)


@pytest.mark.usefixtures("_polling_fast")
async def test_old_and_new_facts_have_their_effect_once_while_the_listener_is_rolled_out(
    databases: Databases, wire: Wire
) -> None:
    await both_versions_have_their_effect(databases, wire)


@pytest.mark.usefixtures("_polling_fast")
async def test_control_with_an_old_copy_that_buries_new_facts_some_are_lost(databases: Databases, wire: Wire) -> None:
    await must_fail(both_versions_have_their_effect, databases, wire, BuryingInbox, within_s=1)


def test_a_fact_of_the_first_release_is_read_as_it_was_written() -> None:
    document = GOLDEN.read_text(encoding="utf-8")
    with knowing(*VERSIONS):
        envelope = parse(document)
    assert isinstance(envelope.data, ThingSaidV1)
    assert (envelope.data.language, envelope.data.words, envelope.sequence) == ("zh-CN", "远亲不如近邻", 1)
    assert json.loads(envelope.to_json()) == json.loads(document)
    assert f"{envelope.type}.json" == GOLDEN.name
