"""Several copies of the gateway hold a limit together; without their Redis, each holds it for itself."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from types import SimpleNamespace
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from limits import parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from chassis.errors import TooManyRequests
from chassis.settings import BadSetting, Settings
from gateway import shared_limits
from gateway.limits import RateLimits, Windows
from gateway.shared_limits import TRY_AGAIN_S, SharedLimiter
from tests.chassis.parts import must_fail
from tests.proxy import Proxy, proxy_to

LIMIT, ASKED = 20, 60
CODE_ROUTE = "/api/v1/auth/otp"


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine half a second is no sign that Redis is away."""
    monkeypatch.setattr(shared_limits, "REDIS_TIMEOUT_S", 20)


@asynccontextmanager
async def copies(redis_url: str | None, **settings: str) -> AsyncIterator[list[RateLimits]]:
    """What three copies of the gateway count with."""
    given = {"request_limit": f"{LIMIT}/hour", "redis_url": redis_url, **settings}
    async with AsyncExitStack() as stack:
        made = [RateLimits(Settings.read(given)) for _ in range(3)]
        for limits in made:
            stack.push_async_callback(limits.aclose)
        yield made


async def allowed(made: list[RateLimits], asked: int = ASKED) -> int:
    """How many requests of one caller the copies let through, asked in turn."""
    caller, passed = uuid4().hex, 0
    for limits in itertools.islice(itertools.cycle(made), asked):
        try:
            await limits.count(caller, "203.0.113.7")
        except TooManyRequests:
            continue
        passed += 1
    return passed


async def hold_the_limit(redis_url: str | None) -> None:
    async with copies(redis_url) as made:
        assert await allowed(made) == LIMIT


async def test_copies_with_one_redis_hold_the_limit_together(redis_url: str) -> None:
    await hold_the_limit(redis_url)


async def test_control_without_it_they_do_not() -> None:
    await must_fail(hold_the_limit, None)


async def test_codes_are_counted_together_by_address(redis_url: str) -> None:
    address = uuid4().hex
    async with copies(redis_url, otp_address_limit="3/hour") as made:
        for limits in made:
            await limits.count(uuid4().hex, address, "/api/v1/auth/otp")
        with pytest.raises(TooManyRequests):
            await made[0].count(uuid4().hex, address, "/api/v1/auth/otp")


@asynccontextmanager
async def through_a_proxy(redis_url: str) -> AsyncIterator[tuple[Proxy, str]]:
    target = urlsplit(redis_url)
    async with proxy_to(target.hostname or "", target.port or 0) as proxy:
        yield proxy, f"redis://127.0.0.1:{proxy.port}"


@pytest.mark.parametrize("fault", ["refuse", "silence"])
async def test_while_it_is_away_each_copy_holds_the_limit_for_itself(
    redis_url: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_limits, "REDIS_TIMEOUT_S", 2)
    monkeypatch.setattr(shared_limits, "TRY_AGAIN_S", 3600)
    async with through_a_proxy(redis_url) as (proxy, url), copies(url) as made:
        assert await allowed(made) == LIMIT
        assert not any(limits.alone for limits in made)
        getattr(proxy, fault)()
        await asyncio.gather(*(limits.count(uuid4().hex, "203.0.113.7") for limits in made))
        assert await allowed(made) == LIMIT * len(made)
        assert all(limits.alone for limits in made), "what the figures tell"
        proxy.heal()


async def test_it_is_tried_again_by_one_request_a_second_and_used_when_it_is_back(redis_url: str) -> None:
    clock = SimpleNamespace(time_s=0.0)
    item, own = parse("1000/hour"), SlidingWindowCounterRateLimiter(Windows())
    async with through_a_proxy(redis_url) as (proxy, url):
        limiter = SharedLimiter(url, own, lambda: clock.time_s)
        assert await limiter.hit(item, uuid4().hex)
        assert proxy.connections == 1
        proxy.refuse()
        assert await limiter.hit(item, "a")
        proxy.heal()
        for _ in range(20):
            assert await limiter.hit(item, "a")
        assert proxy.connections == 1, "it did not wait"
        clock.time_s += TRY_AGAIN_S
        assert await limiter.hit(item, "a")
        assert await limiter.hit(item, "a")
        assert proxy.connections == 2
        await limiter.aclose()


async def test_it_decides_as_one_process_does(redis_url: str) -> None:
    item = parse("7/hour")
    theirs = SlidingWindowCounterRateLimiter(MemoryStorage())
    shared = SharedLimiter(redis_url, theirs)
    callers = [uuid4().hex for _ in range(3)]
    for caller in callers * 10:
        assert await shared.hit(item, caller) == await theirs.hit(item, caller)
    await shared.aclose()


def test_its_address_is_a_url_and_never_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINLI_REDIS_URL", "http://gateway:secret@redis")
    with pytest.raises(BadSetting, match="LINLI_REDIS_URL: expected a URL like redis://") as refused:
        Settings.read()
    assert "secret" not in str(refused.value)
