"""How often one may ask: a person by token, everybody else by address; sign-in by address, more strictly."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from math import floor
from typing import TYPE_CHECKING

from limits import parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import RateLimiter, SlidingWindowCounterRateLimiter

from chassis.errors import TooManyRequests
from chassis.settings import Settings

if TYPE_CHECKING:
    from gateway.shared_limits import SharedLimiter

SIGN_IN_ROUTES = frozenset({"/api/v1/auth/otp", "/api/v1/auth/token"})


class RateLimits:
    """Counts in this process, or together with other copies of the gateway where the settings name a Redis."""

    def __init__(self, settings: Settings) -> None:
        own = SlidingWindowCounterRateLimiter(Windows())
        self._shared = _shared_limiter(settings.redis_url.get_secret_value(), own) if settings.redis_url else None
        self._limiter = self._shared or own
        self._requests = parse(settings.request_limit)
        self._codes = parse(settings.otp_address_limit)

    async def count(self, caller: str, address: str, template: str | None = None) -> None:
        """Count one request of the caller, to no route of ours without a template; TooManyRequests over the limit."""
        if not await self._limiter.hit(self._requests, caller):
            raise TooManyRequests()
        if template in SIGN_IN_ROUTES and not await self._limiter.hit(self._codes, template, address):
            raise TooManyRequests()

    @property
    def alone(self) -> bool:
        """Whether this process counts by itself although it should count together with others."""
        return self._shared is not None and self._shared.away

    async def aclose(self) -> None:
        if self._shared is not None:
            await self._shared.aclose()


def _shared_limiter(url: str, own: RateLimiter) -> SharedLimiter:
    from gateway.shared_limits import SharedLimiter  # noqa: PLC0415 - the client is slow to import, and few need it

    return SharedLimiter(url, own)


class _Window:
    """The counts of one stretch of time and of the one before it, by key."""

    def __init__(self) -> None:
        self.number = 0
        self.counts: dict[str, int] = {}
        self.before: dict[str, int] = {}

    def move_to(self, number: int) -> None:
        self.before = self.counts if number == self.number + 1 else {}
        self.number, self.counts = number, {}


class Windows(MemoryStorage):
    """Counts as the library's storage does, and forgets a whole window at once.

    The library's looks through the counts of all callers at every hit: with 10,000 of them that costs more than all
    else the gateway does.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now_s = now_s
        self._windows: defaultdict[int, _Window] = defaultdict(_Window)

    @property
    def callers(self) -> int:
        """How many counts are kept."""
        return sum(len(window.counts) + len(window.before) for window in self._windows.values())

    async def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count `amount` unless the key has `limit` already: the last window's count weighs what it overlaps."""
        number, past = divmod(self._now_s() / expiry, 1)
        window = self._windows[expiry]
        if window.number != number:
            window.move_to(int(number))
        counted = window.counts.get(key, 0)
        if floor(window.before.get(key, 0) * (1 - past) + counted) + amount > limit:
            return False
        window.counts[key] = counted + amount
        return True
