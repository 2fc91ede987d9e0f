"""The bus over RabbitMQ.

Publishing and consuming have a connection each: a broker short of memory stops reading from publishers, and would then
read no acknowledgements either. Whatever goes wrong with a connection, it is dropped, and it and all that was set up on
it is made anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from chassis.background import running
from chassis.bus import Letter, Subscriber
from chassis.rabbit.consumer import Consumer
from chassis.rabbit.link import Link
from chassis.rabbit.publisher import Publisher
from chassis.topology import Topology

STOP_TIMEOUT_S = 10.0


class RabbitBus:
    """`chassis.bus.Bus` over a broker, for the service whose name its connections bear.

    `prefix` goes before the name of every exchange and queue.
    """

    def __init__(self, url: str, service: str, *, prefix: str = "") -> None:
        self._url = url
        self._service = service
        self._prefix = prefix
        self._stopping = asyncio.Event()
        self._links = [Link(url, f"{service} publishing")]
        self._publisher = Publisher(self._links[0], prefix)
        self._consumers: list[Consumer] = []

    def subscribe(self, subscriber: Subscriber) -> None:
        topology = Topology({subscriber.name: subscriber.routing_keys}, prefix=self._prefix)
        link = Link(self._url, f"{self._service} consuming")
        self._links.insert(0, link)  # its trouble is told first: that of publishing often follows from it
        self._consumers.append(Consumer(link, topology, subscriber, self._stopping))

    async def publish(self, letters: Sequence[Letter]) -> list[Exception | None]:
        return await self._publisher.publish(letters)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with running(self._publisher.run()):
            consuming = [asyncio.create_task(consumer.run()) for consumer in self._consumers]
            try:
                yield
            finally:
                self._stopping.set()
                if consuming:
                    _, late = await asyncio.wait(consuming, timeout=STOP_TIMEOUT_S)
                    for task in late:
                        task.cancel()
                    await asyncio.gather(*consuming, return_exceptions=True)

    def trouble(self) -> str | None:
        return next((found for link in self._links if (found := link.trouble())), None)
