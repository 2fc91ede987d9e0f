"""Erasing a person: what a service holds goes with the fact, and what comes late goes with a sweep."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.erasure import SWEEP_AFTER, SWEEP_FAILED_PAUSE, without_words
from chassis.inbox import WAIT_FOR_RELEASE, Inbox
from chassis.parked import bury, park
from chassis.personal import STAYS, Held, Personal
from chassis.service import Service
from chassis.tables import audit_entries, erasures, idempotency_keys, outbox, parked
from contracts.catalog import NeedDeclined
from contracts.event import Envelope, parse
from contracts.members import PersonErased
from tests.chassis.test_dead_letters import MENDED, call, dead
from tests.chassis.toy import SERVICE, Note
from tests.harness import Databases, Person, ServiceUnderTest, run_service

ANN, BEN = Person(), Person()
SECRET = "我叫王芳"


async def said(toy: ServiceUnderTest, person: Person) -> list[str]:
    async with toy.db.transaction() as session:
        return list(await session.scalars(select(Note.said).where(Note.by == person.id).order_by(Note.id)))


async def sweep(toy: ServiceUnderTest, service: Service = SERVICE) -> None:
    await service.erasure(toy.runtime).sweep_due()


async def test_words_go_ids_stay_and_others_are_left_alone(databases: Databases) -> None:
    async with run_service(SERVICE, databases) as toy:
        for person in (ANN, BEN):
            await toy.post("/notes", person=person, json={"said": SECRET})
        await toy.receive(PersonErased(person_id=ANN.id))
        assert (await said(toy, ANN), await said(toy, BEN)) == ([""], [SECRET])
        async with toy.db.transaction() as session:
            kept = (await session.scalars(select(idempotency_keys.c.person_id))).all()
            entry = (await session.execute(select(audit_entries))).one()
        assert list(kept) == [BEN.id]
        assert (entry.actor, entry.action, entry.subject_id) == ("system", "erase_person", ANN.id)


async def test_control_what_is_not_declared_stays(databases: Databases) -> None:
    """What a service forgets to declare is not erased: `tests/test_personal_data.py` finds that."""
    forgetful = replace(SERVICE, personal=Personal(held=[Held(Note, Note.by, erased=STAYS)]))
    async with run_service(forgetful, databases) as toy:
        await toy.post("/notes", person=ANN, json={"said": SECRET})
        await toy.receive(PersonErased(person_id=ANN.id))
        assert await said(toy, ANN) == [SECRET]


async def test_tokens_are_refused_at_once_those_signed_later_too(databases: Databases) -> None:
    async with run_service(SERVICE, databases) as toy:
        assert (await toy.get("/me/export/toy", person=ANN)).status_code == 200
        await toy.receive(PersonErased(person_id=ANN.id))
        toy.clock.advance(seconds=60)
        assert (await toy.get("/me/export/toy", person=ANN)).status_code == 401
        assert (await toy.get("/me/export/toy", person=BEN)).status_code == 200


async def test_an_export_is_ones_own_and_needs_a_token(databases: Databases) -> None:
    async with run_service(SERVICE, databases) as toy:
        await toy.post("/notes", person=ANN, json={"said": SECRET})
        mine = (await toy.get("/me/export/toy", person=ANN)).json()
        assert [note["said"] for note in mine["notes"]] == [SECRET]
        assert "answer" not in mine["idempotency_keys"][0]
        assert (await toy.get("/me/export/toy", person=BEN)).json() == {}
        assert (await toy.get("/me/export/toy")).status_code == 401


async def test_what_comes_after_the_erasure_is_swept(databases: Databases) -> None:
    async with run_service(SERVICE, databases) as toy:
        await toy.receive(PersonErased(person_id=ANN.id))
        await write_late(toy)
        await sweep(toy)
        assert await said(toy, ANN) == [SECRET]  # not due yet
        for pause in SWEEP_AFTER:
            toy.clock.advance(seconds=pause.total_seconds())
            await sweep(toy)
            assert await said(toy, ANN) == [""]
            await rewrite(toy)
        async with toy.db.transaction() as session:
            row = (await session.execute(select(erasures))).one()
        assert (row.person_id, row.sweeps) == (ANN.id, len(SWEEP_AFTER))
        assert row.next_at == toy.clock() + timedelta(days=1)


async def test_what_a_replay_brings_back_long_after_is_swept_within_a_day(databases: Databases) -> None:
    async with run_service(SERVICE, databases) as toy:
        [letter] = await dead(toy)
        person = Person(id=letter.data.person_id)
        await toy.receive(PersonErased(person_id=person.id))
        for pause in (*SWEEP_AFTER, timedelta(days=30)):
            toy.clock.advance(seconds=pause.total_seconds())
            await sweep(toy)
        await call(toy, "/replay", event_ids=[str(letter.id)])
        await Inbox(toy.db, MENDED).retry_due()
        assert await said(toy, person) == [str(letter.id)]
        toy.clock.advance(days=1)
        await sweep(toy)
        assert await said(toy, person) == [""]


async def test_whom_an_earlier_release_swept_for_the_last_time_is_swept_again(databases: Databases) -> None:
    async with run_service(SERVICE, databases) as toy:
        await toy.receive(PersonErased(person_id=ANN.id))
        async with toy.db.transaction() as session:
            await session.execute(update(erasures).values(sweeps=len(SWEEP_AFTER), next_at=None))
        await write_late(toy)
        await sweep(toy)
        assert await said(toy, ANN) == [""]


async def write_late(toy: ServiceUnderTest, person: Person = ANN) -> None:
    """A request that had passed the check of its token commits after the erasure."""
    async with toy.db.transaction() as session:
        session.add(Note(id=uuid4(), said=SECRET, by=person.id))


async def rewrite(toy: ServiceUnderTest) -> None:
    async with toy.db.transaction() as session:
        for note in await session.scalars(select(Note).where(Note.by == ANN.id)):
            note.said = SECRET


async def test_one_whose_sweep_fails_stops_nobody_elses(databases: Databases) -> None:
    fails = False

    async def end_open(_session: AsyncSession, person_id: UUID) -> None:
        if fails and person_id == BEN.id:
            raise ArithmeticError("a defect")

    service = replace(SERVICE, personal=Personal(held=SERVICE.personal.held, end_open=end_open))
    async with run_service(service, databases) as toy:
        for person in (BEN, ANN):  # the one that fails comes first
            await toy.receive(PersonErased(person_id=person.id))
            await write_late(toy, person)
            toy.clock.advance(seconds=1)
        fails = True
        toy.clock.advance(seconds=SWEEP_AFTER[0].total_seconds())
        await sweep(toy, service)
        assert (await said(toy, ANN), await said(toy, BEN)) == ([""], [SECRET])
        fails = False
        toy.clock.advance(seconds=SWEEP_FAILED_PAUSE.total_seconds())
        await sweep(toy, service)
        assert await said(toy, BEN) == [""]


def declined(person_id: UUID) -> NeedDeclined:
    return NeedDeclined(need_id=uuid4(), area_id=uuid4(), person_id=person_id, title=SECRET, reason=SECRET)


async def test_events_that_wait_and_dead_letters_lose_their_words(databases: Databases) -> None:
    async with run_service(SERVICE, databases) as toy:
        async with toy.db.transaction() as session:
            for person in (ANN, BEN):
                envelope = Envelope(uuid4(), declined(person.id), 1, toy.clock())
                document = envelope.to_json()
                for state in ("retry", "dead"):
                    await park(session, uuid4(), envelope.type, "need", document, f"ValueError({SECRET})", state=state)
                await bury(session, f"{document} and more", "unreadable")
                row = {"event_id": envelope.id, "routing_key": "x", "document": document, "next_at": toy.clock()}
                await session.execute(outbox.insert().values(row))
        await toy.receive(PersonErased(person_id=ANN.id))
        async with toy.db.transaction() as session:
            rows = (await session.execute(select(parked.c.document, parked.c.cause))).all()
            told = (await session.scalars(select(outbox.c.document))).all()
        texts = [row.document + row.cause for row in rows] + list(told)
        of_ann = [text for text in texts if str(ANN.id) in text]
        assert len(of_ann) == 3  # the one that nobody can read is gone
        assert not [text for text in of_ann if SECRET in text]
        assert len([text for text in texts if str(BEN.id) in text and SECRET in text]) == 4


def test_an_event_without_words_is_still_that_event() -> None:
    fact = declined(ANN.id)
    envelope = Envelope(uuid4(), fact, 3, datetime(2026, 3, 2, tzinfo=UTC))
    emptied = without_words(envelope.to_json())
    assert emptied is not None
    again = parse(emptied)
    assert (again.id, again.sequence) == (envelope.id, 3)
    assert again.data == fact.model_copy(update={"title": "", "reason": ""})
    assert without_words("no JSON at all") is None
    assert without_words("[1, 2]") is None


def test_sweeps_go_on_for_longer_than_an_event_waits_for_its_release() -> None:
    assert sum(SWEEP_AFTER, timedelta()) > WAIT_FOR_RELEASE
