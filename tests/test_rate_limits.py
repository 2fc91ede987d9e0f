"""How requests are counted: by the sliding window counter, whatever number of callers there is."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest
from limits import parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from gateway.limits import Windows

LIMIT = parse("10/10 seconds")


class Clock:
    def __init__(self) -> None:
        self.time_s = 1_000_000.0

    def __call__(self) -> float:
        return self.time_s


async def allowed(limiter: SlidingWindowCounterRateLimiter, caller: str, asked: int = 20) -> int:
    return sum([await limiter.hit(LIMIT, caller) for _ in range(asked)])


async def test_what_was_used_before_counts_by_what_it_still_overlaps() -> None:
    clock = Clock()
    limiter = SlidingWindowCounterRateLimiter(Windows(clock))
    assert await allowed(limiter, "a") == 10
    clock.time_s += 15
    assert [await allowed(limiter, "a"), await allowed(limiter, "b")] == [5, 10]
    clock.time_s += 20
    assert await allowed(limiter, "a") == 10


async def test_it_decides_as_the_librarys_own_storage_does(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, chance = Clock(), random.Random(4)
    monkeypatch.setattr("limits.aio.storage.memory.time", SimpleNamespace(time=clock))
    ours, theirs = (SlidingWindowCounterRateLimiter(storage) for storage in (Windows(clock), MemoryStorage()))
    for _ in range(3_000):
        clock.time_s += chance.choice([0, 0, 0.01, 0.5, 3, 9, 30])
        caller = chance.choice("abc")
        assert await ours.hit(LIMIT, caller) == await theirs.hit(LIMIT, caller)


async def test_a_caller_who_has_gone_is_forgotten() -> None:
    clock = Clock()
    windows = Windows(clock)
    limiter = SlidingWindowCounterRateLimiter(windows)
    for number in range(100):
        await limiter.hit(LIMIT, str(number))
    assert windows.callers == 100
    clock.time_s += 20
    await limiter.hit(LIMIT, "b")
    assert windows.callers == 1
