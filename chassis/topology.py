"""What there is on the broker: one exchange for all facts, and for each service a queue, bound to what it listens to.

    domain.events   topic exchange, to which every service publishes its facts by their routing keys
    <service>       its queue, and an exchange and queue `<service>.dead` for what the broker gives up on
    unheard         a short queue of the facts that no service listens to, so that every fact has somewhere to go:
                    one that the broker returns is a mistake, and stays in its outbox

The whole is declared before a deployment's first fact, so that a service that has never run misses nothing. `unheard`
comes last: where it is, all of it is. Each service declares its own part again when it connects.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractQueue
from aio_pika.exceptions import ChannelPreconditionFailed

from contracts.event import EVENT_TYPES

if TYPE_CHECKING:
    from chassis.service import Service

EXCHANGE = "domain.events"
UNHEARD = "unheard"
UNHEARD_MAX = 10_000
# After so many hand-overs without an answer the broker gives a letter up. What fails in a handler never comes to this:
# this is for a process that dies on a letter.
DELIVERY_LIMIT = 20
# RabbitMQ 4 has a limit of 20 by default and gives up by dropping; there is none behind a dead-letter queue.
NO_DELIVERY_LIMIT = 1_000_000_000


class TopologyDiffers(Exception):
    """The broker has something of this name with other properties; the message quotes the broker."""


@dataclass(frozen=True)
class Topology:
    """Queues by name with the routing keys bound to them. `prefix` keeps the runs of tests apart."""

    queues: Mapping[str, frozenset[str]]
    unheard: frozenset[str] = frozenset()
    prefix: str = field(default="", kw_only=True)

    @property
    def exchange(self) -> str:
        return self.prefix + EXCHANGE

    @property
    def unheard_queue(self) -> str:
        return self.prefix + UNHEARD

    async def declare(self, channel: AbstractChannel) -> None:
        """Make everything, exchange first and `unheard` last; TopologyDiffers when something else is there."""
        try:
            await channel.declare_exchange(self.exchange, aio_pika.ExchangeType.TOPIC, durable=True)
            for name in self.queues:
                await self.declare_queue(channel, name)
            await self._declare_unheard(channel)
        except ChannelPreconditionFailed as error:
            raise TopologyDiffers(str(error)) from error

    async def declare_queue(self, channel: AbstractChannel, name: str) -> tuple[AbstractQueue, AbstractQueue]:
        """Make one service's part; its queue and the queue of what the broker gave up on."""
        queue, dead = self.prefix + name, f"{self.prefix}{name}.dead"
        try:
            await channel.declare_exchange(dead, aio_pika.ExchangeType.FANOUT, durable=True)
            given_up = await channel.declare_queue(
                dead,
                durable=True,
                arguments={"x-queue-type": "quorum", "x-delivery-limit": NO_DELIVERY_LIMIT},
            )
            await given_up.bind(dead)
            letters = await channel.declare_queue(
                queue,
                durable=True,
                arguments={
                    "x-queue-type": "quorum",
                    "x-delivery-limit": DELIVERY_LIMIT,
                    "x-dead-letter-exchange": dead,
                    # At most once, the default, may lose a letter on its way to the dead-letter queue.
                    "x-dead-letter-strategy": "at-least-once",
                    # Which RabbitMQ has only together with this, though there is no maximum length.
                    "x-overflow": "reject-publish",
                },
            )
            for routing_key in sorted(self.queues[name]):
                await letters.bind(self.exchange, routing_key)
        except ChannelPreconditionFailed as error:
            raise TopologyDiffers(str(error)) from error
        return letters, given_up

    async def _declare_unheard(self, channel: AbstractChannel) -> None:
        queue = await channel.declare_queue(
            self.unheard_queue,
            durable=True,
            arguments={"x-queue-type": "quorum", "x-max-length": UNHEARD_MAX},
        )
        for routing_key in sorted(self.unheard):
            await queue.bind(self.exchange, routing_key)
        for routing_key in sorted(frozenset().union(*self.queues.values())):
            await queue.unbind(self.exchange, routing_key)

    async def delete(self, channel: AbstractChannel) -> None:
        """Remove everything, with what is in it."""
        await channel.queue_delete(self.unheard_queue)
        for name in self.queues:
            await channel.queue_delete(self.prefix + name)
            await channel.queue_delete(f"{self.prefix}{name}.dead")
            await channel.exchange_delete(f"{self.prefix}{name}.dead")
        await channel.exchange_delete(self.exchange)


def topology_of(services: Iterable[Service], *, prefix: str = "") -> Topology:
    """What these services listen to, from their handlers, and what none of them does."""
    queues = {service.name: frozenset(kind.routing_key() for kind in service.subscriptions()) for service in services}
    told = frozenset(kind.routing_key() for kind in EVENT_TYPES.values())
    return Topology(queues, told - frozenset().union(*queues.values()), prefix=prefix)


async def declare(amqp_url: str, topology: Topology) -> None:
    """Connect with a user who may declare everything, and do so."""
    connection = await aio_pika.connect(amqp_url)
    async with connection, connection.channel() as channel:
        await topology.declare(channel)
