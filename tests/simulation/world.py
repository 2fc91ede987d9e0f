"""What the simulation decides for a process: its time, its ids, its randomness, and where it dies."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from chassis.world import World

START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


class Crash(BaseException):
    """The process dies here. Not an Exception: no part of it may catch its own death."""


class Clock:
    """The time of the whole installation; it moves only when the simulation moves it."""

    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> datetime:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@dataclass
class Fate:
    """Kills a process at the n-th failpoint from now on; `at` is where it died, until it is started again."""

    hits_left: int | None = None
    at: str | None = None
    died: asyncio.Event = field(default_factory=asyncio.Event)

    def forget(self) -> None:
        """Live on, or again."""
        self.hits_left, self.at = None, None
        self.died.clear()

    def __call__(self, name: str) -> None:
        if self.hits_left is None:
            return
        self.hits_left -= 1
        if self.hits_left <= 0:
            self.hits_left, self.at = None, name
            self.died.set()
            raise Crash(name)


class Ids:
    """UUIDv7 from the simulated clock, a counter and seeded randomness."""

    def __init__(self, clock: Clock, randomness: random.Random) -> None:
        self.count = 0
        self._clock = clock
        self._random = randomness

    def __call__(self) -> UUID:
        self.count = (self.count + 1) % (1 << 12)
        ms = int(self._clock().timestamp() * 1000)
        bits = (ms << 80) | (0x7 << 76) | (self.count << 64) | (0b10 << 62) | self._random.getrandbits(62)
        return UUID(int=bits)


class OwnWorld:
    """One process's world: the common clock, as its machine shows it, and ids, randomness and a fate of its own."""

    def __init__(self, clock: Clock, skew: timedelta) -> None:
        self.random = random.Random(0)
        self.fate = Fate()
        self._ids = Ids(clock, self.random)
        self.world = World(now=lambda: clock() + skew, new_id=self._ids, random=self.random, failpoint=self.fate)

    def begin(self) -> None:
        """As in the beginning of a schedule."""
        self.fate.forget()
        self._ids.count = 0
