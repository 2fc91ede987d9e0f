"""The buses under test, each as `wire(*subscribers)`: a bus on which those subscribers listen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import aio_pika
from aio_pika.abc import AbstractChannel

from chassis.bus import Bus, InProcessBus, Subscriber
from chassis.rabbit import RabbitBus
from chassis.topology import Topology, declare

Wire = Callable[..., AbstractAsyncContextManager[Bus]]


@asynccontextmanager
async def in_process(*subscribers: Subscriber, make: Callable[[], InProcessBus] = InProcessBus) -> AsyncIterator[Bus]:
    bus = make()
    for subscriber in subscribers:
        bus.subscribe(subscriber)
    async with bus.running():
        yield bus


@asynccontextmanager
async def over_rabbit(url: str, prefix: str, *subscribers: Subscriber) -> AsyncIterator[Bus]:
    """The topology declared, every subscriber consuming; two of one name are copies that share a queue."""
    topology = topology_for(prefix, *subscribers)
    await declare(url, topology)
    bus = RabbitBus(url, "test", prefix=prefix)
    for subscriber in subscribers:
        bus.subscribe(subscriber)
    try:
        async with bus.running():
            yield bus
    finally:
        async with channel_to(url) as channel:
            await topology.delete(channel)


def topology_for(prefix: str, *subscribers: Subscriber, unheard: frozenset[str] = frozenset()) -> Topology:
    queues = {one.name: one.routing_keys for one in subscribers}
    return Topology(queues, unheard, prefix=prefix)


@asynccontextmanager
async def channel_to(url: str) -> AsyncIterator[AbstractChannel]:
    connection = await aio_pika.connect(url)
    async with connection, connection.channel() as channel:
        yield channel


async def waiting_in(url: str, queue: str) -> int:
    """How many letters the broker has for whoever consumes next."""
    async with channel_to(url) as channel:
        seen = await channel.declare_queue(queue, passive=True)
    return seen.declaration_result.message_count or 0


class Listener:
    """Takes letters, or refuses them, or hangs, as the test sets it."""

    def __init__(self, mood: str = "well") -> None:
        self.mood = mood
        self.got: list[str] = []
        self.buried: list[str] = []

    def subscriber(self, name: str, *routing_keys: str) -> Subscriber:
        return Subscriber(name, frozenset(routing_keys), self.receive, self.bury)

    async def receive(self, documents: Sequence[str]) -> None:
        await eventually(lambda: self.mood != "hangs", within_s=60)
        if self.mood == "fails":
            raise ConnectionError("its database is down")
        self.got.extend(documents)

    async def bury(self, documents: Sequence[str]) -> None:
        self.buried.extend(documents)


async def eventually(holds: Callable[[], bool | Awaitable[bool]], within_s: float = 30) -> None:
    """Wait for a condition; AssertionError when it does not come to hold."""
    end = asyncio.get_running_loop().time() + within_s
    while True:
        found = holds()
        if found if isinstance(found, bool) else await found:
            return
        assert asyncio.get_running_loop().time() < end, "it never holds"
        await asyncio.sleep(0.02)
