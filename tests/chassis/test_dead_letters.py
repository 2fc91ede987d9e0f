"""Dead letters: parked once with their cause, listed, replayed with one effect each, discarded with a reason."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.dead_letters import KEEP_DISCARDED, REPLAYED_ONLY, SELECTED_MAX, forget_discarded
from chassis.inbox import Handlers, Inbox
from chassis.parked import ATTEMPTS_MAX, bury, park
from chassis.tables import audit_entries, erasures, parked
from contracts.event import Envelope
from contracts.members import AreaChanged, PersonErased, PersonRegistered, RoleRevoked, SignedOut
from tests.chassis.parts import ForgetfulInbox, count_of, documents, effects, must_fail, registered, rows_of
from tests.chassis.toy import HANDLERS, SERVICE, Note
from tests.harness import Databases, Person, ServiceUnderTest, coordinator, operator, run_service

LETTERS = "/services/toy/dead-letters"
EVENTS = 5_000
BATCH = 20
ANN = operator()


async def count_everybody(session: AsyncSession, envelopes: Sequence[Envelope[PersonRegistered]]) -> None:
    """What the toy's handler is once it is mended: it takes the poison, too."""
    for envelope in envelopes:
        session.add(Note(id=uuid4(), said=str(envelope.id), by=envelope.data.person_id))
    await session.flush()


MENDED: Handlers = {**HANDLERS, PersonRegistered: count_everybody}


async def give_up(toy: ServiceUnderTest) -> None:
    """Let time pass until whatever fails has failed for the last time."""
    for _ in range(ATTEMPTS_MAX):
        toy.clock.advance(minutes=5)
        while await toy.inbox.retry_due():
            pass


async def dead(toy: ServiceUnderTest, count: int = 1) -> list[Envelope[PersonRegistered]]:
    """As many dead letters."""
    envelopes = [registered(locale="poison") for _ in range(count)]
    await toy.deliver(*envelopes)
    await give_up(toy)
    assert {row.state for row in await rows_of(toy.db, parked)} == {"dead"}
    return envelopes


async def call(toy: ServiceUnderTest, path: str, **body: Any) -> Any:
    answer = await toy.post(LETTERS + path, person=ANN, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def poisoned(databases: Databases, inbox_type: type[Inbox] = Inbox) -> None:
    """One percent cannot be handled; after the handler is mended, it is replayed twice, and delivered again besides."""
    async with run_service(SERVICE, databases) as toy:
        bad = set(random.Random(5).sample(range(EVENTS), EVENTS // 100))
        envelopes = [registered(locale="poison" if n in bad else "en") for n in range(EVENTS)]
        for start in range(0, EVENTS, BATCH):
            await toy.deliver(*envelopes[start : start + BATCH])
        await give_up(toy)
        rows = await rows_of(toy.db, parked)
        assert sorted(row.event_id for row in rows) == sorted(envelopes[n].id for n in bad)
        assert {(row.cause, row.attempts, row.state) for row in rows} == {
            ("ValueError('poison')", ATTEMPTS_MAX, "dead")
        }
        assert (await effects(toy.db)).total() == EVENTS - len(bad)

        [group] = (await toy.get("/services/toy/dead-letter-groups", person=ANN)).json()
        assert (group["letters"], group["cause"]) == (len(bad), "ValueError('poison')")
        copies = [inbox_type(toy.db, MENDED) for _ in range(2)]
        letters = documents(*(envelopes[n] for n in bad))
        assert (await call(toy, "/replay", fingerprint=group["fingerprint"]))["letters"] == len(bad)
        assert (await call(toy, "/replay", fingerprint=group["fingerprint"]))["letters"] == 0, "none is dead any more"
        for _ in range(3):
            toy.clock.advance(seconds=1)
            await asyncio.gather(*(copy.retry_due() for copy in copies), copies[0].receive(letters))
        while await copies[0].retry_due():  # what one copy looked at just then, another left for later
            pass
        assert await count_of(toy.db, parked) == 0
        had = await effects(toy.db)
        assert set(had) == {str(envelope.id) for envelope in envelopes}
        assert had.total() == EVENTS


async def test_one_percent_of_5000_is_given_up_and_replayed_with_one_effect_each(databases: Databases) -> None:
    await poisoned(databases)


async def test_control_without_the_inbox_a_replay_has_effects_twice(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.chassis.test_dead_letters.EVENTS", 200)
    await must_fail(poisoned, databases, ForgetfulInbox)


async def test_a_replay_that_fails_again_is_dead_again_after_as_many_attempts(databases: Databases) -> None:
    async with run_service(SERVICE, databases) as toy:
        [envelope] = await dead(toy)
        await call(toy, "/replay", event_ids=[str(envelope.id)])
        assert [(row.state, row.attempts) for row in await rows_of(toy.db, parked)] == [("retry", 0)]
        await give_up(toy)
        assert [(row.state, row.attempts) for row in await rows_of(toy.db, parked)] == [("dead", ATTEMPTS_MAX)]


async def test_a_replay_keeps_to_its_rate(databases: Databases) -> None:
    async with run_service(SERVICE, databases) as toy:
        envelopes = await dead(toy, 5)
        await call(toy, "/replay", event_ids=[str(one.id) for one in envelopes], per_second=2)
        due = [(row.next_at - toy.clock()).total_seconds() for row in await rows_of(toy.db, parked)]
        assert due == [0, 0, 1, 1, 2]
        mended = Inbox(toy.db, MENDED)
        assert await mended.retry_due() == 2
        toy.clock.advance(seconds=1)
        assert await mended.retry_due() == 2


async def test_a_dry_run_counts_and_changes_nothing(databases: Databases) -> None:
    async with run_service(SERVICE, databases) as toy:
        [first, _] = await dead(toy, 2)
        fingerprint = (await rows_of(toy.db, parked))[0].fingerprint
        before = await rows_of(toy.db, parked)
        for path, body in (("/replay", {}), ("/discard", {"reason": "a test"})):
            assert (await call(toy, path, fingerprint=fingerprint, dry_run=True, **body))["letters"] == 2
            assert (await call(toy, path, event_ids=[str(first.id)], dry_run=True, **body))["letters"] == 1
        assert await rows_of(toy.db, parked) == before
        assert await audited(toy) == []


async def audited(toy: ServiceUnderTest) -> list[tuple[str, str, Any]]:
    async with toy.db.transaction() as session:
        rows = await session.execute(select(audit_entries).order_by(audit_entries.c.id))
        return [(row.actor, row.action, row.subject_id) for row in rows]


async def test_a_discarded_letter_keeps_its_reason_is_not_tried_and_is_forgotten_in_the_end(
    databases: Databases,
) -> None:
    async with run_service(SERVICE, databases) as toy:
        [envelope] = await dead(toy)
        await call(toy, "/discard", event_ids=[str(envelope.id)], reason="sent by a release that was taken back")
        [letter] = (await toy.get(f"{LETTERS}?state=discarded", person=ANN)).json()["items"]
        assert letter["reason"] == "sent by a release that was taken back"
        assert (await call(toy, "/replay", event_ids=[str(envelope.id)]))["letters"] == 0
        toy.clock.advance(hours=1)
        assert await Inbox(toy.db, MENDED).retry_due() == 0
        toy.clock.advance(days=KEEP_DISCARDED / timedelta(days=1))
        async with toy.db.transaction() as session:
            await forget_discarded(session, toy.clock())
        assert await count_of(toy.db, parked) == 0


@pytest.mark.parametrize("buried", [False, True])
async def test_what_privacy_and_rights_depend_on_is_not_discarded(databases: Databases, buried: bool) -> None:
    assert set(REPLAYED_ONLY) == {PersonErased, RoleRevoked, SignedOut, AreaChanged}
    person = Person()
    other = registered()
    erased = Envelope(uuid4(), PersonErased(person_id=person.id), 1, other.time)
    async with run_service(SERVICE, databases) as toy:
        async with toy.db.transaction() as session:
            for envelope in (erased, other):
                if buried:
                    await bury(session, envelope.to_json(), "given up by the bus")
                else:
                    what = envelope.id, envelope.type, envelope.partitionkey, envelope.to_json()
                    await park(session, *what, "failed", state="dead")
        [first, second] = [str(row.event_id) for row in await rows_of(toy.db, parked)]
        for dry_run in (True, False):
            body = {"event_ids": [first, second], "reason": "a test", "dry_run": dry_run}
            for language, title in (("en", "Can only be replayed"), ("zh-CN", "只能重新处理")):
                headers = {"Accept-Language": language}
                answer = await toy.post(f"{LETTERS}/discard", person=ANN, json=body, headers=headers)
                assert (answer.status_code, answer.json()["title"]) == (409, title)
                assert first in answer.json()["detail"]
        assert {row.state for row in await rows_of(toy.db, parked)} == {"dead"}
        assert (await call(toy, "/discard", event_ids=[second], reason="a test"))["letters"] == 1
        assert (await call(toy, "/replay", event_ids=[first]))["letters"] == 1
        await toy.inbox.retry_due()
        async with toy.db.transaction() as session:
            assert (await session.scalars(select(erasures.c.person_id))).all() == [person.id]


async def test_who_replayed_or_discarded_what_is_in_the_audit(databases: Databases) -> None:
    async with run_service(SERVICE, databases) as toy:
        [first, second] = await dead(toy, 2)
        await call(toy, "/replay", event_ids=[str(first.id)])
        await call(toy, "/discard", event_ids=[str(second.id)], reason="not wanted")
        assert await audited(toy) == [
            (str(ANN.id), "replay_dead_letter", first.id),
            (str(ANN.id), "discard_dead_letter", second.id),
        ]


async def test_letters_are_listed_by_state_and_cause_page_by_page_and_shown_with_their_document(
    databases: Databases,
) -> None:
    async with run_service(SERVICE, databases) as toy:
        envelopes = await dead(toy, 3)
        async with toy.db.transaction() as session:
            await bury(session, "no event at all", "unreadable: ValueError")
        first = (await toy.get(f"{LETTERS}?limit=2", person=ANN)).json()
        rest = (await toy.get(f"{LETTERS}?limit=2&cursor={first['next_cursor']}", person=ANN)).json()
        ids = [letter["event_id"] for letter in first["items"] + rest["items"]]
        assert ids[:3] == [str(envelope.id) for envelope in envelopes]
        assert len(ids) == 4
        alike = (await toy.get(f"{LETTERS}?fingerprint={first['items'][0]['fingerprint']}", person=ANN)).json()
        assert len(alike["items"]) == 3
        assert (await toy.get(f"{LETTERS}?state=retry", person=ANN)).json()["items"] == []
        shown = (await toy.get(f"{LETTERS}/{ids[3]}", person=ANN)).json()
        assert (shown["document"], shown["type"]) == ("no event at all", "unreadable")
        assert (await toy.get(f"{LETTERS}/{uuid4()}", person=ANN)).status_code == 404


async def test_a_letter_that_the_bus_gave_up_can_be_replayed(databases: Databases) -> None:
    async with run_service(SERVICE, databases) as toy:
        envelope = registered()
        await toy.inbox.bury(documents(envelope))
        [row] = await rows_of(toy.db, parked)
        await call(toy, "/replay", event_ids=[str(row.event_id)])
        await toy.inbox.retry_due()
        await toy.deliver(envelope)
        assert await effects(toy.db) == {str(envelope.id): 1}


async def test_letters_that_the_bus_gave_up_are_replayed_together_past_one_that_nobody_can_read(
    databases: Databases,
) -> None:
    async with run_service(SERVICE, databases) as toy:
        envelopes = [registered() for _ in range(4)]
        await toy.inbox.bury(["no event at all", *documents(*envelopes)])
        await call(toy, "/replay", fingerprint=(await rows_of(toy.db, parked))[0].fingerprint)
        await toy.inbox.retry_due()
        assert set(await effects(toy.db)) == {str(envelope.id) for envelope in envelopes}
        assert [row.document for row in await rows_of(toy.db, parked)] == ["no event at all"]


async def test_what_waits_follows_by_the_key_of_its_row(databases: Databases) -> None:
    """An earlier release buried all letters under one key."""
    async with run_service(SERVICE, databases) as toy:
        await toy.inbox.bury(documents(*(registered() for _ in range(3))))
        rows = await rows_of(toy.db, parked)
        async with toy.db.transaction() as session:
            await session.execute(update(parked).values(partition_key="unreadable"))
        await call(toy, "/replay", fingerprint=rows[0].fingerprint)
        assert [await toy.inbox.retry_due() for _ in rows] == [1, 1, 1]
        assert await count_of(toy.db, parked) == 0


async def test_more_than_a_call_takes_are_replayed_by_calling_again(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert SELECTED_MAX == 1_000
    monkeypatch.setattr("chassis.dead_letters.SELECTED_MAX", 2)
    async with run_service(SERVICE, databases) as toy:
        await dead(toy, 3)
        fingerprint = (await rows_of(toy.db, parked))[0].fingerprint
        assert [(await call(toy, "/replay", fingerprint=fingerprint))["letters"] for _ in range(3)] == [2, 1, 0]


@pytest.mark.parametrize("body", [{}, {"event_ids": [str(uuid4())], "fingerprint": "0" * 16}])
async def test_a_call_says_either_which_letters_or_which_cause(databases: Databases, body: dict[str, Any]) -> None:
    async with run_service(SERVICE, databases) as toy:
        for path, more in (("/replay", {}), ("/discard", {"reason": "a test"})):
            for dry_run in (True, False):
                asked = {**body, **more, "dry_run": dry_run}
                headers = {"Accept-Language": "en"}
                answer = await toy.post(LETTERS + path, person=ANN, json=asked, headers=headers)
                assert answer.status_code == 422
                assert answer.json()["errors"] == [{"field": "body", "expected": "either event_ids or fingerprint"}]


@pytest.mark.parametrize("person", [None, Person(), coordinator(uuid4())])
async def test_only_operators_see_them(databases: Databases, person: Person | None) -> None:
    async with run_service(SERVICE, databases) as toy:
        refused = 401 if person is None else 403
        for path in (LETTERS, f"{LETTERS}/{uuid4()}", "/services/toy/dead-letter-groups"):
            assert (await toy.get(path, person=person)).status_code == refused
        for path in ("/replay", "/discard"):
            assert (await toy.post(LETTERS + path, person=person, json={})).status_code == refused


async def test_a_cursor_beyond_any_row_is_refused(databases: Databases) -> None:
    from chassis.api import cursor_of

    async with run_service(SERVICE, databases) as toy:
        for key in (2**70, -1, "x"):
            assert (await toy.get(f"{LETTERS}?cursor={cursor_of(key)}", person=ANN)).status_code == 422
