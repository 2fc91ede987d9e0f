"""Group commit: everybody is answered once, after the commit, in order of arrival; a bad request fails alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from chassis import db as db_module
from chassis.batching import GroupCommit, Waiting
from chassis.db import Database
from chassis.errors import Forbidden, Refusal, StillDeciding, Unavailable
from chassis.problems import understand
from tests.chassis.parts import Crash, Setting, must_fail, setting
from tests.chassis.toy import Note
from tests.harness import Databases

property_test = settings(
    max_examples=20, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class Rule:
    """Writes a note for each request, refuses "no", breaks at "break"; remembers the batches it decided."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.pause = asyncio.Event()
        self.pause.set()

    async def decide(self, session: AsyncSession, requests: Sequence[tuple[UUID, str]]) -> list[UUID | Refusal]:
        await self.pause.wait()
        self.batches.append([said for _, said in requests])
        answers: list[UUID | Refusal] = []
        for note_id, said in requests:
            if said == "break":
                raise ArithmeticError("a defect")
            if said == "no":
                answers.append(Forbidden())
                continue
            session.add(Note(id=note_id, said=said, by=note_id))
            answers.append(note_id)
        await session.flush()
        return answers


class EagerCommit(GroupCommit[Any, Any]):
    """A control's batching: it answers inside the transaction, before the commit."""

    async def _answer(self, batch: Sequence[Waiting[Any, Any]]) -> None:
        try:
            async with self._db.transaction() as session:
                answers = await self._decide(session, [waiting.request for waiting in batch])
                for waiting, answer in zip(batch, answers, strict=True):
                    if not isinstance(answer, Refusal):
                        waiting.answer.set_result(answer)
                await asyncio.sleep(0.05)
        except Exception as error:
            for waiting in batch:
                if not waiting.answer.done():
                    waiting.answer.set_exception(error)


@pytest.fixture(scope="module")
async def stage(databases: Databases) -> AsyncIterator[Setting]:
    async with setting(databases) as made:
        await made.database()
        yield made


@pytest.fixture
def db(stage: Setting) -> Database:
    stage.failpoints.armed.clear()
    return stage.opened[0]


async def kept(db: Database, note_id: UUID) -> bool:
    """Whether a second connection sees the effect."""
    async with db.transaction() as session:
        return await session.scalar(select(Note.id).where(Note.id == note_id)) is not None


requests_strategy = st.lists(st.sampled_from(["yes", "yes", "yes", "no", "break"]), max_size=12)


@property_test
@given(said=requests_strategy, batch_max=st.integers(1, 5))
async def test_everybody_is_answered_once_and_a_bad_request_fails_alone(
    db: Database, said: list[str], batch_max: int
) -> None:
    rule = Rule()
    requests = [(uuid4(), one) for one in said]
    async with GroupCommit(db, rule.decide, batch_max=batch_max) as group:
        answers = await asyncio.gather(*(group.submit(one) for one in requests), return_exceptions=True)
    for (note_id, one), answer in zip(requests, answers, strict=True):
        if one == "yes":
            assert answer == note_id
        else:
            assert isinstance(answer, Forbidden if one == "no" else ArithmeticError)
        assert await kept(db, note_id) == (one == "yes")
    assert max(map(len, rule.batches), default=0) <= batch_max


@property_test
@given(count=st.integers(1, 12), batch_max=st.integers(1, 5))
async def test_requests_are_decided_in_order_of_arrival(db: Database, count: int, batch_max: int) -> None:
    rule, order = Rule(), []
    async with GroupCommit(db, rule.decide, batch_max=batch_max) as group:

        async def ask(number: int) -> None:
            await group.submit((uuid4(), str(number)))
            order.append(number)

        await asyncio.gather(*(ask(number) for number in range(count)))
    assert [said for batch in rule.batches for said in batch] == [str(number) for number in range(count)]
    assert order == list(range(count))


@property_test
@given(said=requests_strategy, cancelled=st.sets(st.integers(0, 11)), batch_max=st.integers(1, 5))
async def test_a_waiter_that_goes_away_harms_no_other(
    db: Database, said: list[str], cancelled: set[int], batch_max: int
) -> None:
    rule = Rule()
    rule.pause.clear()
    requests = [(uuid4(), one) for one in said]
    async with GroupCommit(db, rule.decide, batch_max=batch_max) as group:
        waiters = [asyncio.create_task(group.submit(one)) for one in requests]
        await asyncio.sleep(0.001)
        gone = {number for number in cancelled if number < len(waiters) and waiters[number].cancel()}
        await asyncio.sleep(0)
        rule.pause.set()
        answers = await asyncio.gather(*waiters, return_exceptions=True)
    for number, ((note_id, one), answer) in enumerate(zip(requests, answers, strict=True)):
        if number in gone:
            assert isinstance(answer, asyncio.CancelledError)
        elif one == "yes":
            assert answer == note_id
            assert await kept(db, note_id)
        else:
            assert isinstance(answer, Forbidden if one == "no" else ArithmeticError)


async def answer_after_commit(db: Database, kind: type[GroupCommit[Any, Any]] = GroupCommit) -> None:
    async with kind(db, Rule().decide) as group:

        async def ask() -> bool:
            return await kept(db, await group.submit((uuid4(), "yes")))

        seen = await asyncio.gather(*(ask() for _ in range(20)))
    assert all(seen), "answered before the commit"


async def test_the_answer_comes_after_the_commit(db: Database) -> None:
    await answer_after_commit(db)


async def test_control_an_eager_answer_comes_before_it(db: Database) -> None:
    await must_fail(answer_after_commit, db, EagerCommit)


async def no_success_without_commit(stage: Setting, db: Database, kind: type[GroupCommit[Any, Any]]) -> None:
    def always(name: str) -> None:
        if name == "before_commit":
            raise Crash(name)

    requests = [(uuid4(), "yes") for _ in range(10)]
    failing = Database(db.url, stage.world, pool_size=2)
    object.__setattr__(failing.world, "failpoint", always)
    try:
        async with kind(failing, Rule().decide) as group:
            answers = await asyncio.gather(*(group.submit(one) for one in requests), return_exceptions=True)
        assert all(isinstance(answer, Crash) for answer in answers)
        assert not any([await kept(db, note_id) for note_id, _ in requests])
    finally:
        await failing.close()


async def test_when_the_commit_fails_nobody_hears_of_success(stage: Setting, db: Database) -> None:
    await no_success_without_commit(stage, db, GroupCommit)


async def test_control_an_eager_answer_is_a_false_success(stage: Setting, db: Database) -> None:
    await must_fail(no_success_without_commit, stage, db, EagerCommit)


async def test_what_waits_together_is_committed_together(db: Database) -> None:
    rule = Rule()
    async with GroupCommit(db, rule.decide, batch_max=64) as group:
        await asyncio.gather(*(group.submit((uuid4(), "yes")) for _ in range(200)))
    assert [len(batch) for batch in rule.batches] == [64, 64, 64, 8]


async def test_closing_answers_everything_that_was_submitted_and_takes_nothing_more(db: Database) -> None:
    rule = Rule()
    group: GroupCommit[Any, Any] = GroupCommit(db, rule.decide, batch_max=4)
    async with group:
        waiters = [asyncio.create_task(group.submit((uuid4(), "yes"))) for _ in range(30)]
        await asyncio.sleep(0)
    answers = await asyncio.gather(*waiters)
    assert len(answers) == 30
    assert all([await kept(db, answer) for answer in answers])
    with pytest.raises(Unavailable):
        await group.submit((uuid4(), "yes"))


async def test_a_deadlock_is_decided_again_and_nobody_notices(db: Database) -> None:
    attempts = 0

    async def collide(session: AsyncSession, requests: Sequence[str]) -> list[str | Refusal]:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            await session.execute(text("DO $$ BEGIN RAISE deadlock_detected; END $$"))
        return list(requests)

    async with GroupCommit(db, collide) as group:
        assert await group.submit("a") == "a"
    assert attempts == 3


async def test_a_rule_that_gives_too_few_answers_changes_nothing_and_the_next_requests_are_decided(
    db: Database,
) -> None:
    rule = Rule()

    async def forget_one(session: AsyncSession, requests: Sequence[tuple[UUID, str]]) -> list[UUID | Refusal]:
        answers = await rule.decide(session, requests)
        return answers[1:] if requests[0][1] == "forgotten" else answers

    forgotten, remembered = (uuid4(), "forgotten"), (uuid4(), "yes")
    async with asyncio.timeout(5), GroupCommit(db, forget_one) as group:
        with pytest.raises(ValueError, match="answers"):
            await group.submit(forgotten)
        assert await group.submit(remembered) == remembered[0]
    assert not await kept(db, forgotten[0])


async def test_a_lock_that_is_held_too_long_is_told_to_all_who_wait_for_it_at_once(
    stage: Setting, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db_module, "LOCK_TIMEOUT_MS", 200)
    impatient = Database(db.url, stage.world, pool_size=2)

    async def lock(session: AsyncSession, requests: Sequence[int]) -> list[int | Refusal]:
        await session.execute(text("SELECT pg_advisory_xact_lock(99)"))
        return list(requests)

    try:
        async with GroupCommit(impatient, lock) as group:
            async with db.transaction() as holder:
                await holder.execute(text("SELECT pg_advisory_xact_lock(99)"))
                started = asyncio.get_running_loop().time()
                answers = await asyncio.gather(*(group.submit(n) for n in range(20)), return_exceptions=True)
                assert asyncio.get_running_loop().time() - started < 1
            assert [type(answer) for answer in answers] == [StillDeciding] * 20
            assert await group.submit(1) == 1
    finally:
        await impatient.close()


class Counted(Database):
    """Counts how often somebody asks for a connection."""

    asked = 0

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        self.asked += 1
        async with super()._turn():
            yield


async def a_batch_without_a_connection_asks_once(stage: Setting, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db_module, "POOL_TIMEOUT_S", 0.05)
    small = Counted(db.url, stage.world, pool_size=1)
    try:
        async with GroupCommit(small, Rule().decide) as group, small.transaction():
            small.asked = 0
            waiting = (group.submit((uuid4(), "yes")) for _ in range(20))
            answers = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(understand(answer).type == "unavailable" for answer in answers if isinstance(answer, Exception))
        assert not any(isinstance(answer, UUID) for answer in answers)
        assert small.asked == 1
    finally:
        await small.close()


async def test_a_batch_without_a_connection_is_told_to_all_at_once(
    stage: Setting, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await a_batch_without_a_connection_asks_once(stage, db, monkeypatch)


async def test_control_one_by_one_each_waits_in_line_again(
    stage: Setting, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chassis.batching.is_down", lambda _: False)
    await must_fail(a_batch_without_a_connection_asks_once, stage, db, monkeypatch)
