"""From outbox row to ledger entry: orders' relay, a quorum queue, points' inbox and ledger.

Points tells of each entry in turn, which is as much work again. What the path itself carries is seen while points'
relay is at rest; a second figure is with all of it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import uuid4

import aio_pika
import asyncpg

from bench.figures import Figure, Untrue
from bench.stage import Stage, known_id, person
from chassis.outbox import RELAY_LOCK, WAKE_CHANNEL
from contracts.event import Envelope
from contracts.orders import ClaimAccepted
from services.orders.app import SERVICE as ORDERS
from services.points.app import SERVICE as POINTS

BACKLOG = 20_000
IN_FLIGHT = 200
BODY_BYTES = 400
CLAIMANTS = 2_000
DONE_TIMEOUT_S = 180


async def measure(stage: Stage) -> list[Figure]:
    """A backlog of claims, to points alone and to everybody who listens; against the bare library and broker."""
    bare = await _bare(stage)
    limit_is = f"aio-pika alone: {BACKLOG:,} published with confirm, then consumed with ack"
    await stage.begin_anew([ORDERS.name, POINTS.name])
    alone = await _drain(stage, "points", at_rest=True)
    await stage.begin_anew()
    whole = await _drain(stage, "points", "catalog", "notify")
    return [
        Figure("events, from outbox row to ledger entry", alone, "1/s", bare, limit_is, "≥ 0.8"),
        Figure("events, with points' relay, catalog and notify running, too", whole, "1/s", bare, limit_is),
    ]


async def _bare(stage: Stage) -> float:
    """Letters a second: published, `IN_FLIGHT` unconfirmed at a time, and afterwards consumed."""
    connection = await aio_pika.connect(stage.amqp_url)
    async with connection:
        publishing = await connection.channel(publisher_confirms=True)
        queue = await publishing.declare_queue("bench", durable=True, arguments={"x-queue-type": "quorum"})
        places, body = asyncio.Semaphore(IN_FLIGHT), b"x" * BODY_BYTES
        persistent = aio_pika.DeliveryMode.PERSISTENT

        async def publish() -> None:
            async with places:
                message = aio_pika.Message(body, delivery_mode=persistent)
                await publishing.default_exchange.publish(message, "bench")

        began = time.perf_counter()
        await asyncio.gather(*(publish() for _ in range(BACKLOG)))
        consuming = await connection.channel()
        await consuming.set_qos(prefetch_count=IN_FLIGHT)
        async with (await consuming.get_queue("bench")).iterator() as letters:
            for _ in range(BACKLOG):
                await (await anext(letters)).ack()
        took = time.perf_counter() - began
        await queue.delete(if_unused=False, if_empty=False)
    return BACKLOG / took


async def _drain(stage: Stage, *listeners: str, at_rest: bool = False) -> float:
    """Events a second until the last claim of a new backlog is in the ledger; Untrue when one is not there once.

    `at_rest`: points' process does not become its database's relay.
    """
    async with stage.connected("points") as points, stage.connected("orders") as orders:
        if at_rest:
            await points.execute("SELECT pg_advisory_lock($1)", RELAY_LOCK)
        before = await _awards(points)
        with stage.services("orders", *listeners):
            await stage.pause(2)
            began = time.perf_counter()
            await orders.copy_records_to_table("outbox", records=_backlog(), columns=_COLUMNS)
            await orders.execute(f"NOTIFY {WAKE_CHANNEL}")
            while await _awards(points) < before + BACKLOG:
                if time.perf_counter() - began > DONE_TIMEOUT_S:
                    raise Untrue(f"{await _awards(points) - before} of {BACKLOG} claims in the ledger")
                await stage.pause(0.1)
            took = time.perf_counter() - began
        if await _awards(points) != before + BACKLOG:
            raise Untrue("a claim was awarded twice")
    return BACKLOG / took


async def _awards(points: asyncpg.Connection) -> int:
    found: int = await points.fetchval("SELECT count(*) FROM transfers WHERE kind = 'award'")
    return found


_COLUMNS = ("event_id", "routing_key", "document", "next_at")


def _backlog() -> Sequence[tuple[object, ...]]:
    now = datetime.now(UTC)
    rows = []
    for number in range(BACKLOG):
        claimant = person(number % CLAIMANTS)
        fact = ClaimAccepted(
            claim_id=uuid4(),
            product_id=known_id(f"product{number % 200}"),
            area_id=known_id("area"),
            title="为独居老人送餐",
            claimant_type="member",
            claimant_id=claimant,
            person_id=claimant,
            lease_until=now,
        )
        envelope = Envelope(uuid4(), fact, 1, now)
        rows.append((envelope.id, fact.routing_key(), envelope.to_json(), now))
    return rows
