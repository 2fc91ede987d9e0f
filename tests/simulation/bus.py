"""A bus on which each letter waits until the simulation hands it over: to whom, when, how often, in any order."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext

from chassis.bus import Letter, Subscriber


class NotConfirmed(ConnectionError):
    """The broker's word for a letter did not come; the letter may be in its queues all the same."""


class WaitingBus:
    """Queues by service, which all its copies share. Like a broker it promises no order and no single delivery.

    While `faults` is above zero, that share of the letters is not confirmed; half of those are queued all the same.
    """

    def __init__(self) -> None:
        self.queues: dict[str, list[str]] = {}
        self.told: list[Letter] = []
        self.faults = 0.0
        self.random = random.Random(0)
        self._routing_keys: dict[str, frozenset[str]] = {}

    def subscribe(self, subscriber: Subscriber) -> None:
        self._routing_keys[subscriber.name] = subscriber.routing_keys
        self.queues.setdefault(subscriber.name, [])

    async def publish(self, letters: Sequence[Letter]) -> list[Exception | None]:
        return [self._publish(letter) for letter in letters]

    def _publish(self, letter: Letter) -> Exception | None:
        fault = self.random.random() < self.faults
        if not fault or self.random.random() < 0.5:
            self.told.append(letter)
            for name, routing_keys in self._routing_keys.items():
                if letter.routing_key in routing_keys:
                    self.queues[name].append(letter.document)
        return NotConfirmed() if fault else None

    def waiting(self) -> int:
        return sum(map(len, self.queues.values()))

    def running(self) -> AbstractAsyncContextManager[object]:
        return nullcontext()

    def trouble(self) -> str | None:
        return None
