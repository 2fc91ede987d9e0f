"""The in-process bus: a letter is confirmed when every subscriber has committed it, and nobody waits for another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

import pytest

from chassis import bus as bus_module
from chassis.bus import InProcessBus, Letter, Subscriber
from chassis.outbox import Relay
from chassis.tables import outbox
from tests.chassis.parts import REGISTERED, must_fail, rows_of, send_once, setting, tell
from tests.harness import Databases


class Listener:
    """Takes letters, refuses them, or hangs, as the test sets it."""

    def __init__(self, mood: str = "well") -> None:
        self.mood = mood
        self.got: list[str] = []

    async def receive(self, documents: Sequence[str]) -> None:
        if self.mood == "fails":
            raise ConnectionError("its database is down")
        if self.mood == "hangs":
            await asyncio.sleep(3600)
        self.got.extend(documents)


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


async def others_get_theirs(databases: Databases, mood: str, make_bus: Callable[[], Any] = InProcessBus) -> None:
    """One listener is unwell: the others have the letter at once, and for that one it stays."""
    async with setting(databases) as stage:
        db, bus = await stage.database(), make_bus()
        unwell, *well = listeners = [Listener(mood), Listener(), Listener()]
        for number, listener in enumerate(listeners):
            bus.subscribe(Subscriber(f"{number}", frozenset({REGISTERED}), listener.receive))
        relay = Relay(db, bus)
        await tell(db, 3)
        await send_once(relay, db)
        assert [len(listener.got) for listener in well] == [3, 3]
        assert [row.attempts for row in await rows_of(db, outbox)] == [1, 1, 1]
        unwell.mood = "well"
        stage.clock.advance(seconds=1)
        await send_once(relay, db)
        assert len(unwell.got) == 3
        assert await rows_of(db, outbox) == []


@pytest.mark.parametrize("mood", ["fails", "hangs"])
async def test_a_subscriber_that_is_unwell_holds_up_nobody_and_misses_nothing(databases: Databases, mood: str) -> None:
    await others_get_theirs(databases, mood)


@pytest.mark.parametrize("mood", ["fails", "hangs"])
async def test_control_a_bus_that_asks_one_by_one_holds_everybody_up(databases: Databases, mood: str) -> None:
    await must_fail(others_get_theirs, databases, mood, OneByOneBus)


async def test_letters_for_others_are_confirmed_while_one_subscriber_fails() -> None:
    bus, well, unwell = InProcessBus(), Listener(), Listener("fails")
    bus.subscribe(Subscriber("well", frozenset({"a", "b"}), well.receive))
    bus.subscribe(Subscriber("unwell", frozenset({"b"}), unwell.receive))
    outcomes = await bus.publish([letter("a", "1"), letter("b", "2"), letter("a", "3")])
    assert [type(outcome) for outcome in outcomes] == [type(None), ConnectionError, type(None)]
    assert well.got == ["1", "2", "3"]


async def test_a_subscriber_gets_only_what_it_listens_to_and_in_order() -> None:
    bus, listener = InProcessBus(), Listener()
    bus.subscribe(Subscriber("one", frozenset({"a"}), listener.receive))
    assert await bus.publish([letter("a", "1"), letter("b", "2"), letter("a", "3")]) == [None] * 3
    assert listener.got == ["1", "3"]
