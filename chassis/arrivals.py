"""Read your writes: a request that names a thing this service has not heard of yet waits a moment for its event."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

from chassis.db import Database
from chassis.errors import NotArrived
from chassis.settings import ARRIVAL_WAIT_S

LOOK_EVERY_S = 0.05
# Few may wait at a time: made-up ids must not tie up the service. The others are answered at once.
WAITERS_MAX = 32

T = TypeVar("T")


class Arrivals:
    """One service's waiting room for copies that are under way."""

    def __init__(self, db: Database, wait_s: float = ARRIVAL_WAIT_S) -> None:
        self._db = db
        self._wait_s = wait_s
        self._places = asyncio.Semaphore(WAITERS_MAX)

    async def wait_for(self, find: Callable[[AsyncSession], Awaitable[T | None]]) -> T:
        """What `find` gives once it is not None; NotArrived after `wait_s`."""
        found = await self._look(find)
        if found is not None:
            return found
        if self._places.locked():
            raise NotArrived()
        async with self._places:
            end = asyncio.get_running_loop().time() + self._wait_s
            while asyncio.get_running_loop().time() < end:
                await asyncio.sleep(LOOK_EVERY_S)
                found = await self._look(find)
                if found is not None:
                    return found
        raise NotArrived()

    async def then(self, act: Callable[[], Awaitable[T]], find: Callable[[AsyncSession], Awaitable[object]]) -> T:
        """What `act` gives; where that hears NotArrived, once more as soon as `find` gives something."""
        try:
            return await act()
        except NotArrived:
            await self.wait_for(find)
        return await act()

    async def _look(self, find: Callable[[AsyncSession], Awaitable[T | None]]) -> T | None:
        async with self._db.transaction() as session:
            return await find(session)
