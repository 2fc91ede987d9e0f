"""Rate limits that several copies of the gateway hold together: they count in one Redis, for as long as it answers.

When it does not, each goes on by its own counts: N copies then let through up to N times the limit. A limit is there to
keep the door usable, so its absence must not close it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog
from limits import RateLimitItem
from limits.aio.storage import RedisStorage
from limits.aio.strategies import RateLimiter, SlidingWindowCounterRateLimiter
from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

# On the same network it takes half a millisecond.
REDIS_TIMEOUT_S = 0.5
# Then one request finds out whether it is back; all others do not wait for that.
TRY_AGAIN_S = 1.0

log = structlog.get_logger(__name__)


class SharedLimiter:
    """Counts a hit with the other copies, else by `own`. `url`: redis:// or rediss://."""

    def __init__(self, url: str, own: RateLimiter, now_s: Callable[[], float] = time.monotonic) -> None:
        self._pool = ConnectionPool.from_url(
            url,
            socket_timeout=REDIS_TIMEOUT_S,
            socket_connect_timeout=REDIS_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )
        storage = RedisStorage(
            f"async+{url}",
            implementation="redispy",
            connection_pool=self._pool,  # type: ignore[arg-type] # its types know of plain options only
        )
        self._shared = SlidingWindowCounterRateLimiter(storage)
        self._own = own
        self._now_s = now_s
        self._try_again_s: float | None = None

    @property
    def away(self) -> bool:
        """Whether it did not answer when it was last asked."""
        return self._try_again_s is not None

    async def hit(self, item: RateLimitItem, *identifiers: str) -> bool:
        """Whether one more is within the limit."""
        if self._try_again_s is None or self._now_s() >= self._try_again_s:
            if self.away:
                self._try_again_s = self._now_s() + TRY_AGAIN_S
            try:
                allowed = await self._shared.hit(item, *identifiers)
            except (RedisError, OSError, TimeoutError) as error:
                self._away(error)
            else:
                self._back()
                return allowed
        return await self._own.hit(item, *identifiers)

    def _away(self, error: Exception) -> None:
        if not self.away:
            log.error("shared_limits_away", cause=type(error).__name__)
        self._try_again_s = self._now_s() + TRY_AGAIN_S

    def _back(self) -> None:
        if self.away:
            log.warning("shared_limits_back")
        self._try_again_s = None

    async def aclose(self) -> None:
        await self._pool.disconnect()
