"""What every bus promises: subscribers get what they listen to, and nobody waits for another."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from uuid import uuid4

import pytest

from chassis import bus as bus_module
from chassis.bus import InProcessBus, Letter
from chassis.outbox import Relay
from chassis.tables import outbox
from tests.chassis.buses import Listener, Wire, eventually, in_process
from tests.chassis.parts import REGISTERED, count_of, must_fail, send_once, setting, tell
from tests.harness import Databases


class OneByOneBus(InProcessBus):
    """A control's bus: it asks one subscriber after another and stops at the first that fails."""

    async def publish(self, letters: Sequence[Letter]) -> list[Exception | None]:
        try:
            async with asyncio.timeout(bus_module.HAND_OVER_TIMEOUT_S):
                for subscriber in self._subscribers:
                    await subscriber.receive([letter.document for letter in letters])
        except Exception as error:
            return [error] * len(letters)
        return [None] * len(letters)


@pytest.fixture(autouse=True)
def _short_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus_module, "HAND_OVER_TIMEOUT_S", 0.1)


def letter(routing_key: str, document: str = "x") -> Letter:
    return Letter(uuid4(), routing_key, document)


async def others_get_theirs(databases: Databases, mood: str, wire: Wire, within_s: float = 30) -> None:
    """One listener is unwell: the others have the letter at once, and that one has it when it is well again."""
    async with setting(databases) as stage:
        db = await stage.database()
        unwell, *well = listeners = [Listener(mood), Listener(), Listener()]
        subscribers = [listener.subscriber(f"l{number}", REGISTERED) for number, listener in enumerate(listeners)]
        async with wire(*subscribers) as bus:
            relay = Relay(db, bus)
            await tell(db, 3)
            await send_once(relay, db)
            await eventually(lambda: [len(listener.got) for listener in well] == [3, 3], within_s)
            assert unwell.got == []
            unwell.mood = "well"
            stage.clock.advance(seconds=1)
            await send_once(relay, db)
            await eventually(lambda: len(set(unwell.got)) == 3)
            assert await count_of(db, outbox) == 0


@pytest.mark.parametrize("mood", ["fails", "hangs"])
async def test_a_subscriber_that_is_unwell_holds_up_nobody_and_misses_nothing(
    databases: Databases,
    mood: str,
    wire: Wire,
) -> None:
    await others_get_theirs(databases, mood, wire)


@pytest.mark.parametrize("mood", ["fails", "hangs"])
async def test_control_a_bus_that_asks_one_by_one_holds_everybody_up(databases: Databases, mood: str) -> None:
    await must_fail(others_get_theirs, databases, mood, partial(in_process, make=OneByOneBus), within_s=2)


async def test_a_subscriber_gets_only_what_it_listens_to_and_in_order(wire: Wire) -> None:
    one, other = Listener(), Listener()
    async with wire(one.subscriber("one", "a", "b"), other.subscriber("other", "b", "c")) as bus:
        for batch in range(20):
            letters = [letter("abc"[number % 3], f"{batch * 30 + number:04}") for number in range(30)]
            assert await bus.publish(letters) == [None] * 30
        await eventually(lambda: (len(one.got), len(other.got)) == (400, 400))
    assert one.got == [f"{number:04}" for number in range(600) if number % 3 in {0, 1}]
    assert other.got == [f"{number:04}" for number in range(600) if number % 3 in {1, 2}]


async def test_in_process_letters_for_others_are_confirmed_while_one_subscriber_fails() -> None:
    well, unwell = Listener(), Listener("fails")
    async with in_process(well.subscriber("well", "a", "b"), unwell.subscriber("unwell", "b")) as bus:
        outcomes = await bus.publish([letter("a", "1"), letter("b", "2"), letter("a", "3")])
    assert [type(outcome) for outcome in outcomes] == [type(None), ConnectionError, type(None)]
    assert well.got == ["1", "2", "3"]
