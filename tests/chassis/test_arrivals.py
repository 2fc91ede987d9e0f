"""A request that names a thing not heard of yet waits a moment for it, and few wait at a time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from chassis import arrivals as arrivals_module
from chassis.arrivals import WAITERS_MAX, Arrivals
from chassis.db import Database
from chassis.errors import NotArrived
from chassis.settings import ARRIVAL_WAIT_S
from tests.chassis.buses import eventually
from tests.chassis.parts import setting
from tests.chassis.toy import Note
from tests.harness import Databases


@pytest.fixture(scope="module")
async def db(databases: Databases) -> AsyncIterator[Database]:
    async with setting(databases) as stage:
        yield await stage.database()


def now() -> float:
    return asyncio.get_running_loop().time()


async def wait(arrivals: Arrivals, note_id: UUID) -> Note:
    async def find(session: AsyncSession) -> Note | None:
        return await session.get(Note, note_id)

    return await arrivals.wait_for(find)


async def write(db: Database, note_id: UUID, after_s: float = 0) -> None:
    await asyncio.sleep(after_s)
    async with db.transaction() as session:
        session.add(Note(id=note_id, said="here", by=note_id))


async def test_what_is_there_is_given_at_once(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    note_id = uuid4()
    await write(db, note_id)
    monkeypatch.setattr(arrivals_module, "LOOK_EVERY_S", 3600)
    assert (await wait(Arrivals(db), note_id)).said == "here"


async def test_what_comes_meanwhile_is_given_when_it_comes(db: Database) -> None:
    note_id = uuid4()
    started = now()
    found, _ = await asyncio.gather(wait(Arrivals(db), note_id), write(db, note_id, after_s=0.3))
    assert found.id == note_id
    assert 0.3 <= now() - started < ARRIVAL_WAIT_S


async def test_what_does_not_come_is_refused_after_two_seconds_with_a_hint_to_try_again(db: Database) -> None:
    started = now()
    with pytest.raises(NotArrived) as caught:
        await wait(Arrivals(db), uuid4())
    assert ARRIVAL_WAIT_S - 0.1 <= now() - started < ARRIVAL_WAIT_S + 0.5
    assert caught.value.status == 404
    assert caught.value.headers() == {"Retry-After": "2"}


async def test_few_wait_at_a_time_and_the_others_are_answered_at_once(db: Database) -> None:
    arrivals, known, looks = Arrivals(db, wait_s=3), uuid4(), Counter[int]()
    await write(db, known)

    async def look_in_vain(waiter: int) -> None:
        async def find(_: AsyncSession) -> None:
            looks[waiter] += 1

        await arrivals.wait_for(find)

    waiting = [asyncio.create_task(look_in_vain(waiter)) for waiter in range(WAITERS_MAX)]
    # Who looks a second time has a place.
    await eventually(lambda: len(looks) == WAITERS_MAX and min(looks.values()) >= 2)
    with pytest.raises(NotArrived):
        await wait(arrivals, uuid4())
    assert (await wait(arrivals, known)).id == known
    assert not any(task.done() for task in waiting), "answered before the others"
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {NotArrived}
    with pytest.raises(NotArrived):
        await wait(arrivals, uuid4())
