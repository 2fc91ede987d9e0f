"""The bus as the services see it: publish letters, be handed letters. What is behind it is not theirs to know."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

# A subscriber that does not answer in this time keeps the row in the outbox, and holds up nobody else.
HAND_OVER_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Letter:
    """One event to send: its id, where to, and the CloudEvent as JSON text."""

    event_id: UUID
    routing_key: str
    document: str


class BusAway(ConnectionError):
    """The bus could not be reached: nothing is known of the letter, and nothing is wrong with it."""


Receive = Callable[[Sequence[str]], Awaitable[None]]


@dataclass(frozen=True)
class Subscriber:
    """A service's queue: `receive` returns when every letter's effect, or a row for its retry, has committed.

    `bury` takes letters that were handed over again and again without an answer: each becomes a dead letter.
    """

    name: str
    routing_keys: frozenset[str]
    receive: Receive
    bury: Receive


class Bus(Protocol):
    """What every bus promises: a letter confirmed is a letter that every subscriber has or will be handed."""

    def subscribe(self, subscriber: Subscriber) -> None:
        """Hand the subscriber's letters to it from now on."""
        ...

    async def publish(self, letters: Sequence[Letter]) -> list[Exception | None]:
        """Send the letters; per letter, None when confirmed or the error because of which it is to be sent again."""
        ...

    def running(self) -> AbstractAsyncContextManager[object]:
        """Hand letters over as long as the block lasts; at its end, what is in hand is finished first."""
        ...

    def trouble(self) -> str | None:
        """Why this process neither sends nor is handed letters; None while all is well, or the bus is away."""
        ...


class InProcessBus:
    """All services in one process: a letter is confirmed when each subscriber has committed it."""

    def __init__(self) -> None:
        self._subscribers: list[Subscriber] = []

    def subscribe(self, subscriber: Subscriber) -> None:
        self._subscribers.append(subscriber)

    async def publish(self, letters: Sequence[Letter]) -> list[Exception | None]:
        outcomes: list[Exception | None] = [None] * len(letters)

        async def hand_over(subscriber: Subscriber) -> None:
            mine = [index for index, letter in enumerate(letters) if letter.routing_key in subscriber.routing_keys]
            if not mine:
                return
            try:
                async with asyncio.timeout(HAND_OVER_TIMEOUT_S):
                    await subscriber.receive([letters[index].document for index in mine])
            except Exception as error:
                for index in mine:
                    outcomes[index] = error

        await asyncio.gather(*(hand_over(subscriber) for subscriber in self._subscribers))
        return outcomes

    def running(self) -> AbstractAsyncContextManager[object]:
        return nullcontext()

    def trouble(self) -> str | None:
        return None
