"""A POST that is sent again has one effect and the same answer, whoever sends it, however often, and after a crash."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from chassis import db as db_module
from chassis.idempotency import KEEP_KEYS_H, forget_old_keys
from chassis.tables import idempotency_keys
from chassis.world import World
from contracts.members import PersonRegistered
from tests.chassis import toy as toy_module
from tests.chassis.parts import Failpoints, count_of, effects, must_fail
from tests.chassis.toy import SERVICE, WRITERS_LOCK
from tests.harness import Clock, Databases, Person, ServiceUnderTest, run_service

KEYS, TIMES = 50, 20


async def forgetful(
    session: AsyncSession, requests: Sequence[Any], decide: Callable[..., Awaitable[Any]], model: type[Any]
) -> Any:
    """A control's `once_each`: it keeps no answer."""
    return await decide(requests)


async def send_in_parallel(copies: Sequence[ServiceUnderTest], keys: int, times: int) -> None:
    ann = Person()
    sends = [number for number in range(keys) for _ in range(times)]
    random.Random(50).shuffle(sends)
    answers = await asyncio.gather(
        *(
            copies[n % len(copies)].post("/notes", person=ann, key=f"key-{number}", json={"said": f"note {number}"})
            for n, number in enumerate(sends)
        )
    )
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == keys
    had = await effects(copies[0].db)
    assert set(had) == {f"note {number}" for number in range(keys)}
    assert had.total() == keys
    assert len(await copies[0].emitted(PersonRegistered)) == keys


async def test_50_keys_sent_20_times_in_parallel_have_50_effects_and_the_same_answers(databases: Databases) -> None:
    async with run_service(SERVICE, databases) as toy:
        await send_in_parallel([toy], KEYS, TIMES)


async def two_copies(databases: Databases) -> None:
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(run_service(SERVICE, databases))
        second = await stack.enter_async_context(run_service(SERVICE, databases, database_url=first.db.url))
        await send_in_parallel([first, second], KEYS, 6)


async def test_over_two_copies_of_the_service_too(databases: Databases) -> None:
    await two_copies(databases)


async def test_control_without_kept_answers_there_are_more_effects(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toy_module, "once_each", forgetful)
    async with run_service(SERVICE, databases) as toy:
        await must_fail(send_in_parallel, [toy], 5, 4)


async def test_a_key_belongs_to_one_body(databases: Databases) -> None:
    async with run_service(SERVICE, databases) as toy:
        ann = Person()
        assert (await toy.post("/notes", person=ann, key="abc", json={"said": "one"})).status_code == 201
        other = await toy.post("/notes", person=ann, key="abc", json={"said": "two"})
        assert (other.status_code, other.json()["type"]) == (422, "urn:linli:problem:key_reused")
        assert set(await effects(toy.db)) == {"one"}


async def test_two_bodies_under_one_key_at_once_have_one_effect(databases: Databases) -> None:
    async with run_service(SERVICE, databases) as toy:
        ann = Person()
        sends = [toy.post("/notes", person=ann, key="abc", json={"said": f"{n % 2}"}) for n in range(10)]
        answers = await asyncio.gather(*sends)
        assert sorted(answer.status_code for answer in answers) == [201] * 5 + [422] * 5
        assert (await effects(toy.db)).total() == 1


async def test_a_key_belongs_to_one_path_of_its_route(databases: Databases) -> None:
    async with run_service(SERVICE, databases) as toy:
        ann = Person()
        first = await toy.post("/boards/one/notes", person=ann, key="abc", json={"said": "hi"})
        again = await toy.post("/boards/one/notes", person=ann, key="abc", json={"said": "hi"})
        elsewhere = await toy.post("/boards/two/notes", person=ann, key="abc", json={"said": "hi"})
        assert (first.status_code, again.text, elsewhere.status_code) == (201, first.text, 422)


async def test_a_key_belongs_to_one_person_and_one_route(databases: Databases) -> None:
    async with run_service(SERVICE, databases) as toy:
        ann, ben = Person(), Person()
        answers = [
            await toy.post("/notes", person=ann, key="abc", json={"said": "ann"}),
            await toy.post("/notes", person=ben, key="abc", json={"said": "ben"}),
            await toy.post("/boards/one/notes", person=ann, key="abc", json={"said": "ann"}),
        ]
        assert [answer.status_code for answer in answers] == [201] * 3
        assert (await effects(toy.db)).total() == 3


@pytest.mark.parametrize("key", ["", "x" * 256, "schlüssel", "a\tb"])
async def test_without_a_usable_key_nothing_happens(databases: Databases, key: str) -> None:
    async with run_service(SERVICE, databases) as toy:
        headers = {b"Authorization": f"Bearer {toy.token(Person())}".encode(), b"Idempotency-Key": key.encode()}
        answer = await toy.client.post("/api/v1/notes", headers=headers, json={"said": "hi"})
        assert (answer.status_code, answer.json()["type"]) == (400, "urn:linli:problem:key_missing")
        assert not await effects(toy.db)
        del headers[b"Idempotency-Key"]
        assert (await toy.client.post("/api/v1/notes", headers=headers, json={"said": "hi"})).status_code == 400


async def test_killed_after_the_commit_the_retry_gives_the_answer_that_was_decided(databases: Databases) -> None:
    failpoints = Failpoints()
    world = World(now=Clock(), random=random.Random(1), failpoint=failpoints)
    async with run_service(SERVICE, databases, world=world) as toy:
        ann = Person()
        failpoints.arm("after_commit")
        assert (await toy.post("/notes", person=ann, key="abc", json={"said": "hi"})).status_code == 500
        [kept] = (await toy.get("/notes")).json()
        retry = await toy.post("/notes", person=ann, key="abc", json={"said": "hi"})
        assert (retry.status_code, retry.json()) == (201, kept)
        assert (await effects(toy.db)).total() == 1


async def test_killed_before_the_commit_the_retry_is_the_first(databases: Databases) -> None:
    failpoints = Failpoints()
    world = World(now=Clock(), random=random.Random(1), failpoint=failpoints)
    async with run_service(SERVICE, databases, world=world) as toy:
        ann = Person()
        failpoints.arm("before_commit")
        assert (await toy.post("/notes", person=ann, key="abc", json={"said": "hi"})).status_code == 500
        assert (await toy.get("/notes")).json() == []
        assert (await toy.post("/notes", person=ann, key="abc", json={"said": "hi"})).status_code == 201


async def test_a_refusal_is_decided_afresh(databases: Databases) -> None:
    async with run_service(SERVICE, databases) as toy:
        ann = Person()
        for _ in range(2):
            assert (await toy.post("/notes", person=ann, key="abc", json={"said": "no"})).status_code == 403
        assert await count_of(toy.db, idempotency_keys) == 0
        assert (await toy.post("/notes", person=ann, key="abc", json={"said": "yes"})).status_code == 201


async def test_a_duplicate_hears_409_when_the_first_is_decided_for_too_long(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db_module, "LOCK_TIMEOUT_MS", 200)
    async with run_service(SERVICE, databases) as toy:
        ann = Person()
        async with toy.db.transaction() as other:
            await other.execute(text(f"SELECT pg_advisory_xact_lock({WRITERS_LOCK})"))
            answer = await toy.post("/notes", person=ann, key="abc", json={"said": "hi"})
        assert (answer.status_code, answer.json()["type"]) == (409, "urn:linli:problem:still_deciding")
        assert answer.headers["Retry-After"] == "1"
        assert (await toy.post("/notes", person=ann, key="abc", json={"said": "hi"})).status_code == 201


async def test_a_duplicate_waits_for_the_first_and_gets_its_answer(databases: Databases) -> None:
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(run_service(SERVICE, databases))
        second = await stack.enter_async_context(run_service(SERVICE, databases, database_url=first.db.url))
        ann = Person()
        async with first.db.transaction() as other:
            await other.execute(text(f"SELECT pg_advisory_xact_lock({WRITERS_LOCK})"))
            both = [
                asyncio.create_task(copy.post("/notes", person=ann, key="abc", json={"said": "hi"}))
                for copy in (first, second)
            ]
            await asyncio.sleep(0.2)
            assert not any(task.done() for task in both)
        answers = await asyncio.gather(*both)
        assert [answer.status_code for answer in answers] == [201, 201]
        assert answers[0].json() == answers[1].json()


async def test_a_key_is_kept_for_three_days(databases: Databases) -> None:
    async with run_service(SERVICE, databases) as toy:
        ann = Person(id=uuid4())
        await toy.post("/notes", person=ann, key="old", json={"said": "old"})
        toy.clock.advance(hours=KEEP_KEYS_H - 1)
        await toy.post("/notes", person=ann, key="new", json={"said": "new"})
        toy.clock.advance(hours=2)
        async with toy.db.transaction() as session:
            await forget_old_keys(session, toy.clock())
        assert await count_of(toy.db, idempotency_keys) == 1
        await toy.post("/notes", person=ann, key="new", json={"said": "new"})
        await toy.post("/notes", person=ann, key="old", json={"said": "old"})
        assert await effects(toy.db) == {"old": 2, "new": 1}
