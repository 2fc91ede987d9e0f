"""Every part of Linli in the test's own process, on the bus that it is given."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

from chassis.bus import Bus, Letter, Subscriber
from chassis.settings import Settings
from chassis.tokens import generate_key
from deploy.secrets import LOOKS_UP
from services.members.keys import generate_keys
from standalone import Stack, build_stack
from tests.harness import Databases


class Shared:
    """One bus for all services of the process, which whoever made it runs."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    def subscribe(self, subscriber: Subscriber) -> None:
        self._bus.subscribe(subscriber)

    async def publish(self, letters: Sequence[Letter]) -> list[Exception | None]:
        return await self._bus.publish(letters)

    def running(self) -> AbstractAsyncContextManager[object]:
        return nullcontext()

    def trouble(self) -> str | None:
        return self._bus.trouble()


@asynccontextmanager
async def linli(databases: Databases, server_url: str, bus: Bus) -> AsyncIterator[Stack]:
    """All of it, running; the operator's password is that of development."""
    made = generate_keys()
    settings = Settings.read({"environment": "development", "operator_password": "linli-development", **made})
    lookup_keys = {name: generate_key() for name in LOOKS_UP}
    prefix = databases.prefix("whole")
    stack = await build_stack(settings, server_url, lookup_keys, bus=Shared(bus), database_prefix=prefix)
    async with bus.running(), stack.running(settings):
        yield stack
        stack.stop_streams()
