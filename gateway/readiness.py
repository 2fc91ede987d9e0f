"""Which services can answer. Everybody may ask, and each look costs every service a request: so one look a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from starlette.types import ASGIApp, Scope

from gateway.forward import is_ready

KEPT_S = 1.0


class Readiness:
    """What the services said when they were last asked; who comes meanwhile gets the same answer."""

    def __init__(self, upstreams: Mapping[str, ASGIApp], now_s: Callable[[], float] = time.monotonic) -> None:
        self._upstreams = upstreams
        self._now_s = now_s
        self._look: asyncio.Task[dict[str, bool]] | None = None
        self._until_s = 0.0

    async def of_services(self, scope: Scope) -> dict[str, bool]:
        """Whether each is ready, by name; `scope` is the request that asks."""
        if self._look is None or (self._look.done() and self._now_s() >= self._until_s):
            self._look = asyncio.create_task(self._ask(scope))
        # Who leaves does not take the answer along from those who wait for it, too.
        return await asyncio.shield(self._look)

    async def _ask(self, scope: Scope) -> dict[str, bool]:
        answers = await asyncio.gather(*(is_ready(name, app, scope) for name, app in self._upstreams.items()))
        self._until_s = self._now_s() + KEPT_S
        return dict(zip(self._upstreams, answers, strict=True))
