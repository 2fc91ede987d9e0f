"""How often one may ask: a person by token, everybody else by address; sign-in codes by address, more strictly."""

from __future__ import annotations

from limits import parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from chassis.errors import TooManyRequests
from chassis.settings import Settings

CODE_ROUTE = "/api/v1/auth/otp"


class RateLimits:
    """Counts in this process; a copy of the gateway counts for itself."""

    def __init__(self, settings: Settings) -> None:
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._requests = parse(settings.request_limit)
        self._codes = parse(settings.otp_address_limit)

    async def count(self, caller: str, address: str, template: str | None = None) -> None:
        """Count one request of the caller, to no route of ours without a template; TooManyRequests over the limit."""
        if not await self._limiter.hit(self._requests, caller):
            raise TooManyRequests()
        if template == CODE_ROUTE and not await self._limiter.hit(self._codes, "otp", address):
            raise TooManyRequests()
