"""Consuming: letters in batches into the inbox, acknowledged together once that has committed them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage, AbstractQueue

from chassis.background import running, wait_at_most
from chassis.bus import BusAway, Receive, Subscriber
from chassis.rabbit.link import BROKER_TIMEOUT_S, Link, declared
from chassis.topology import Topology

# After a batch that was not full: a letter by itself is handled at once, and many one after another together, which
# costs a fraction of handling each.
REST_S = 0.03
# While one batch is handled the next one arrives.
RECEIVE_BATCH_MAX = 400
PREFETCH = 2 * RECEIVE_BATCH_MAX
# When letters could not be taken in (this service's own database is down), they stay in hand for this time.
RECEIVE_RETRY_S = 1.0
WATCH_S = 5.0
# For all of a queue's bindings, one after another: a broker that is busy is not one that is silent.
BINDING_TIMEOUT_S = 60.0

log = structlog.get_logger(__name__)


class Consumer:
    """Empties one service's queue into its inbox."""

    def __init__(self, link: Link, topology: Topology, subscriber: Subscriber, stopping: asyncio.Event) -> None:
        self._link = link
        self._topology = topology
        self._subscriber = subscriber
        self._stopping = stopping

    async def run(self) -> None:
        await self._link.keep(self._use, self._stopping)

    async def _use(self, connection: AbstractConnection) -> None:
        async with asyncio.timeout(BROKER_TIMEOUT_S), declared():
            # One channel a queue: acknowledgements of several letters at once count per channel.
            first, second = [await connection.channel(publisher_confirms=False) for _ in range(2)]
            await first.set_qos(prefetch_count=PREFETCH)
            await second.set_qos(prefetch_count=PREFETCH)
            letters, _ = await self._topology.declare_queue(first, self._subscriber.name)
            _, given_up = await self._topology.declare_queue(second, self._subscriber.name)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._empty(first, letters, self._subscriber.receive))
            group.create_task(self._empty(second, given_up, self._subscriber.bury))
            group.create_task(self._watch(connection, letters.name))

    async def _empty(self, channel: AbstractChannel, queue: AbstractQueue, receive: Receive) -> None:
        """Hand over what comes, and acknowledge it, until told to stop; BusAway when the broker ends it."""
        arrived: asyncio.Queue[AbstractIncomingMessage | None] = asyncio.Queue()

        def end(*_: object) -> None:
            arrived.put_nowait(None)

        underlay = await channel.get_underlay_channel()
        underlay.on_consumer_cancel_callbacks.add(end)
        async with running(_then(self._stopping.wait(), end), _then(channel.closed(), end)):
            async with asyncio.timeout(BROKER_TIMEOUT_S):
                await queue.consume(arrived.put)
            while batch := await _take(arrived):
                await self._hand_over(channel, [message.body.decode("utf-8", "replace") for message in batch], receive)
                async with asyncio.timeout(BROKER_TIMEOUT_S):
                    await batch[-1].ack(multiple=True)
                if self._stopping.is_set():
                    return
                if len(batch) < RECEIVE_BATCH_MAX:
                    await wait_at_most(self._stopping, REST_S)
        if not self._stopping.is_set():
            raise BusAway(f"the broker ended the consumption of {queue.name}")

    async def _hand_over(self, channel: AbstractChannel, documents: Sequence[str], receive: Receive) -> None:
        """Until it has been taken in. The letters stay ours: given back, each return would count as a delivery."""
        while True:
            try:
                return await receive(documents)
            except Exception as error:
                log.warning("letters_wait", service=self._subscriber.name, letters=len(documents), cause=repr(error))
                if self._stopping.is_set() or channel.is_closed:
                    raise
            await wait_at_most(self._stopping, RECEIVE_RETRY_S)

    async def _watch(self, connection: AbstractConnection, queue: str) -> None:
        """See at intervals that the queue has its bindings and a consumer.

        A binding that somebody took away is made anew: of a fact with several listeners the broker tells nobody that
        one went without. BusAway without a consumer, TimeoutError when the broker is silent.
        """
        while True:
            await wait_at_most(self._stopping, WATCH_S)
            if self._stopping.is_set():
                return
            async with (
                asyncio.timeout(BROKER_TIMEOUT_S) as patience,
                connection.channel(publisher_confirms=False) as channel,
            ):
                seen = await channel.declare_queue(queue, passive=True)
                if not seen.declaration_result.consumer_count:
                    raise BusAway(f"queue {queue} has no consumer")
                patience.reschedule(asyncio.get_running_loop().time() + BINDING_TIMEOUT_S)
                await self._topology.declare_queue(channel, self._subscriber.name)
            # Only now: a consumer that is lost after each new connection is trouble, too.
            self._link.serves()


async def _take(arrived: asyncio.Queue[AbstractIncomingMessage | None]) -> list[AbstractIncomingMessage]:
    """What has arrived, at most a batch; waits for the first, and takes nothing once it is told the end (None)."""
    batch: list[AbstractIncomingMessage] = []
    while len(batch) < RECEIVE_BATCH_MAX and (not batch or not arrived.empty()):
        message = await arrived.get()
        if message is None:
            return []
        batch.append(message)
    return batch


async def _then(happened: Awaitable[object], act: Callable[[], None]) -> None:
    await happened
    act()
