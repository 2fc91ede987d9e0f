"""Copies whose machines do not agree about the time go by their database's; a machine that is right is left alone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from uuid import uuid4

import pytest

from chassis.clock import HEARD_WITHIN, MAY_DIFFER, SharedClock, machine_time
from chassis.outbox import emit
from chassis.world import World
from contracts.members import PersonRegistered
from tests.chassis.parts import must_fail, send_once
from tests.chassis.toy import SERVICE
from tests.harness import Clock, Databases, ServiceUnderTest, run_service

MakeWorld = Callable[[Callable[[], datetime]], World]


def shared(machine: Callable[[], datetime]) -> World:
    clock = SharedClock(machine)
    return World(now=clock, correct=clock.correct)


def by_the_machine(machine: Callable[[], datetime]) -> World:
    """The control's world: each copy for itself."""
    return World(now=machine)


async def what_one_copy_tells_the_other_sends(databases: Databases, make: MakeWorld = shared) -> None:
    """The machine of the one is five minutes fast; the other's, which holds the relay, five minutes slow."""
    url = await databases.fresh(SERVICE)

    def copy(minutes: int) -> AbstractAsyncContextManager[ServiceUnderTest]:
        world = make(lambda: machine_time() + timedelta(minutes=minutes))
        return run_service(SERVICE, databases, world=world, database_url=url)

    async with copy(5) as fast, copy(-5) as slow:
        for one in (fast, slow):
            await one.db.pulse.beat()
        async with fast.db.transaction() as session:
            emit(session, PersonRegistered(person_id=uuid4(), locale="en"), sequence=1)
        assert await send_once(slow.relay, slow.db) == 1


async def test_what_a_fast_copy_tells_a_slow_one_sends_at_once(databases: Databases) -> None:
    await what_one_copy_tells_the_other_sends(databases)


async def test_control_by_its_machines_time_it_would_be_ten_minutes_late(databases: Databases) -> None:
    await must_fail(what_one_copy_tells_the_other_sends, databases, by_the_machine)


@pytest.mark.parametrize("off", [timedelta(minutes=5), timedelta(minutes=-5), timedelta(days=-400)])
def test_a_clock_that_is_off_is_set_right_and_follows_when_the_machine_is_mended(off: timedelta) -> None:
    right, machine = Clock(), Clock()
    machine.time += off
    clock = SharedClock(machine)
    for _ in range(2):
        clock.correct(right(), clock(), clock())
        assert clock() == right()
    machine.time = right()
    clock.correct(right(), clock(), clock())
    assert clock() == machine()


def test_a_small_difference_and_an_answer_that_came_late_change_nothing() -> None:
    machine = Clock()
    clock = SharedClock(machine)
    clock.correct(machine() + MAY_DIFFER, machine(), machine())
    assert clock() == machine()
    clock.correct(machine() + timedelta(minutes=5), machine() - 2 * HEARD_WITHIN, machine())
    assert clock() == machine()


def test_an_answer_during_which_the_machine_was_set_back_changes_nothing() -> None:
    machine = Clock()
    clock = SharedClock(machine)
    clock.correct(machine(), machine() + timedelta(hours=1), machine())
    assert clock() == machine()
