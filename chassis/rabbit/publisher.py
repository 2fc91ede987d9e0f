"""Publishing: persistent, mandatory, confirmed, many at once, and never without a time-out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence

import aio_pika
from aio_pika.abc import AbstractConnection, AbstractExchange
from aio_pika.exceptions import DeliveryError, PublishError

from chassis.bus import BusAway, Letter
from chassis.rabbit.link import BROKER_TIMEOUT_S, Link, declared
from chassis.topology import Topology

PUBLISH_TIMEOUT_S = 5.0


class Unroutable(Exception):
    """No queue takes the fact: the topology lacks it. It stays in the outbox until one does."""


class Publisher:
    """Sends letters, as many at once as it is given."""

    def __init__(self, link: Link, prefix: str) -> None:
        self._link = link
        self._topology = Topology({}, prefix=prefix)
        self._ready = asyncio.Event()
        self._broken = asyncio.Event()
        self._connection: AbstractConnection | None = None
        self._exchange: AbstractExchange | None = None

    async def run(self) -> None:
        await self._link.keep(self._use, asyncio.Event())

    async def _use(self, connection: AbstractConnection) -> None:
        async with asyncio.timeout(BROKER_TIMEOUT_S):
            channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
            # All of the topology, or nothing is sent: what one of two queues got is not sent again for the other.
            async with declared():
                exchange = await channel.declare_exchange(self._topology.exchange, passive=True)
                await channel.declare_queue(self._topology.unheard_queue, passive=True)
        self._exchange, self._connection = exchange, connection
        self._broken.clear()
        self._ready.set()
        self._link.serves()
        try:
            await _first(channel.closed(), self._broken.wait())
        finally:
            self._ready.clear()
            self._exchange = self._connection = None
        raise BusAway("the connection for publishing was closed")

    async def publish(self, letters: Sequence[Letter]) -> list[Exception | None]:
        """Send the letters and wait for their confirms; BusAway when there is nothing to send them to."""
        exchange = await self._open_exchange()
        results = await asyncio.gather(*(self._send(exchange, letter) for letter in letters), return_exceptions=True)
        outcomes = [_outcome(letter, result) for letter, result in zip(letters, results, strict=True)]
        if any(isinstance(outcome, BusAway) for outcome in outcomes) and not await self._held_up():
            self._broken.set()
        return outcomes

    async def _open_exchange(self) -> AbstractExchange:
        try:
            async with asyncio.timeout(PUBLISH_TIMEOUT_S):
                await self._ready.wait()
                await self._not_held_up()
        except TimeoutError:
            raise BusAway(self._link.cause or "the broker takes nothing at the moment") from None
        if self._exchange is None:
            raise BusAway("the connection for publishing was closed")
        return self._exchange

    async def _not_held_up(self) -> None:
        """Return once the broker does not tell us to wait (`connection.blocked`, for example for want of memory)."""
        transport = self._connection.transport if self._connection else None
        if transport is not None:
            await transport.connection.ready()

    async def _held_up(self) -> bool:
        try:
            async with asyncio.timeout(0):
                await self._not_held_up()
        except TimeoutError:
            return True
        return False

    async def _send(self, exchange: AbstractExchange, letter: Letter) -> None:
        message = aio_pika.Message(
            letter.document.encode(),
            message_id=str(letter.event_id),
            content_type="application/cloudevents+json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        )
        await exchange.publish(message, letter.routing_key, mandatory=True, timeout=PUBLISH_TIMEOUT_S)


def _outcome(letter: Letter, result: object) -> Exception | None:
    match result:
        case PublishError():
            return Unroutable(f"no queue takes {letter.routing_key}")
        case DeliveryError():
            return result
        case BaseException():
            return BusAway(repr(result))
    return None


async def _first(*awaited: Awaitable[object]) -> None:
    tasks = [asyncio.ensure_future(one) for one in awaited]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
