"""Work that goes on beside the requests: tasks that live as long as a block, and work repeated at intervals."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import structlog

log = structlog.get_logger(__name__)


@asynccontextmanager
async def running(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run the coroutines until the block ends, then cancel them and wait."""
    tasks = [asyncio.create_task(coroutine) for coroutine in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def every(interval_s: float, work: Callable[[], Awaitable[None]]) -> None:
    """Do the work now and at each interval, until cancelled; an error is logged and the next turn comes all the same.

    Copies of a service all do it: the work must stand being done twice at once (SKIP LOCKED, conditional updates).
    """
    while True:
        try:
            await work()
        except Exception as error:
            log.warning("background_work_failed", work=getattr(work, "__qualname__", repr(work)), cause=repr(error))
        await asyncio.sleep(interval_s)


async def wait_at_most(woken: asyncio.Event, seconds: float) -> None:
    """Return when the event is set, or after that time."""
    # Not asyncio.wait_for: before Python 3.12 it swallows a cancellation that comes at the moment of waking.
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await woken.wait()
