"""RabbitMQ, and the traps others fell into: each has a test, and where the damage is silent, a control."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import uuid4

import aio_pika
import pytest
from aio_pika.queue import Queue
from pamqp.commands import Connection
from pamqp.frame import marshal
from yarl import URL

from chassis.background import running
from chassis.bus import Bus, BusAway, Letter, Subscriber
from chassis.inbox import Inbox
from chassis.outbox import Relay
from chassis.rabbit import RabbitBus, consumer, link, publisher
from chassis.rabbit.publisher import Unroutable
from chassis.tables import outbox, parked
from chassis.topology import DELIVERY_LIMIT, EXCHANGE, Topology, declare
from tests.chassis.buses import Listener, channel_to, eventually, over_rabbit, topology_for, waiting_in
from tests.chassis.parts import (
    REGISTERED,
    count_of,
    documents,
    effects,
    emptied,
    lay,
    must_fail,
    registered,
    rows_of,
    send_once,
    setting,
    tell,
)
from tests.chassis.toy import HANDLERS
from tests.harness import Databases
from tests.proxy import Proxy, proxy_to


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same pauses in small."""
    monkeypatch.setattr(link, "RECONNECT_S", 0.1)
    monkeypatch.setattr(consumer, "RECEIVE_RETRY_S", 0.1)
    monkeypatch.setattr(consumer, "WATCH_S", 0.3)


def letters(routing_key: str, *documents: str) -> list[Letter]:
    return [Letter(uuid4(), routing_key, document) for document in documents or ("x",)]


@asynccontextmanager
async def proxied(url: str) -> AsyncIterator[tuple[Proxy, str]]:
    """A proxy before the broker, and the broker's URL through it."""
    broker = URL(url)
    async with proxy_to(str(broker.host), broker.port or 5672) as proxy:
        yield proxy, str(broker.with_host("127.0.0.1").with_port(proxy.port))


@asynccontextmanager
async def declared(url: str, topology: Topology) -> AsyncIterator[None]:
    try:
        await declare(url, topology)
        yield
    finally:
        async with channel_to(url) as channel:
            await topology.delete(channel)


async def take_from(url: str, queue: str) -> aio_pika.abc.AbstractIncomingMessage:
    async with channel_to(url) as channel:
        message = await (await channel.get_queue(queue)).get()
        await message.ack()
        return message


# ---- Publishing -----------------------------------------------------------------------------------------------------


async def test_a_letter_is_persistent_and_says_what_it_is(amqp_url: str, amqp_prefix: str) -> None:
    nobody = topology_for(amqp_prefix, Listener().subscriber("one", "a"))
    bus = RabbitBus(amqp_url, "test", prefix=amqp_prefix)
    async with declared(amqp_url, nobody), bus.running():
        [letter] = letters("a", '{"specversion":"1.0"}')
        assert await bus.publish([letter]) == [None]
        message = await take_from(amqp_url, f"{amqp_prefix}one")
    assert message.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
    assert (message.message_id, message.body.decode()) == (str(letter.event_id), letter.document)
    assert message.content_type == "application/cloudevents+json"


class HopefulBus(RabbitBus):
    """A control's bus: it takes every confirm for a delivery."""

    async def publish(self, letters: Sequence[Letter]) -> list[Exception | None]:
        async with channel_to(self._url) as channel:
            exchange = await channel.get_exchange(self._prefix + EXCHANGE)
            for letter in letters:
                await exchange.publish(aio_pika.Message(letter.document.encode()), letter.routing_key, mandatory=False)
        return [None] * len(letters)


async def unbound_stays(databases: Databases, url: str, prefix: str, bus_type: type[RabbitBus] = RabbitBus) -> None:
    """The queue is unbound under load: what is told meanwhile stays in the outbox, and arrives once it is bound."""
    listener = Listener()
    topology = topology_for(prefix, listener.subscriber("one", REGISTERED))
    bus = bus_type(url, "test", prefix=prefix)
    bus.subscribe(listener.subscriber("one", REGISTERED))
    async with setting(databases) as stage, declared(url, topology), bus.running():
        db = await stage.database()
        relay = Relay(db, bus)
        await tell(db, 3)
        await send_once(relay, db)
        await eventually(lambda: len(listener.got) == 3)
        async with channel_to(url) as channel:
            queue = await channel.get_queue(f"{prefix}one")
            await queue.unbind(prefix + EXCHANGE, REGISTERED)
            await tell(db, 5)
            await send_once(relay, db)
            await queue.bind(prefix + EXCHANGE, REGISTERED)
        assert await count_of(db, outbox) == 5
        assert {(row.attempts, "no queue takes" in row.cause) for row in await rows_of(db, outbox)} == {(1, True)}
        stage.clock.advance(seconds=1)
        await send_once(relay, db)
        await eventually(lambda: len(listener.got) == 8)
        assert await count_of(db, outbox) == 0


@pytest.fixture
def _nobody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "WATCH_S", 3600)


@pytest.mark.usefixtures("_nobody_watches")
async def test_a_fact_that_no_queue_takes_stays_until_one_does(
    databases: Databases, amqp_url: str, amqp_prefix: str
) -> None:
    await unbound_stays(databases, amqp_url, amqp_prefix)


async def test_control_a_confirm_alone_does_not_mean_that_a_queue_has_it(
    databases: Databases, amqp_url: str, amqp_prefix: str
) -> None:
    await must_fail(unbound_stays, databases, amqp_url, amqp_prefix, HopefulBus)


async def test_one_letter_that_cannot_be_sent_holds_up_no_other(amqp_url: str, amqp_prefix: str) -> None:
    listener = Listener()
    async with over_rabbit(amqp_url, amqp_prefix, listener.subscriber("one", "a")) as bus:
        outcomes = await bus.publish([*letters("a", "1"), *letters("nobody"), *letters("a", "2")])
        assert [type(outcome) for outcome in outcomes] == [type(None), Unroutable, type(None)]
        await eventually(lambda: listener.got == ["1", "2"])


async def test_a_fact_that_nobody_listens_to_is_routed_all_the_same(amqp_url: str, amqp_prefix: str) -> None:
    one = Listener().subscriber("one", "a")
    bus = RabbitBus(amqp_url, "test", prefix=amqp_prefix)
    async with declared(amqp_url, topology_for(amqp_prefix, one, unheard=frozenset({"b"}))), bus.running():
        assert await bus.publish(letters("b")) == [None]
        assert await waiting_in(amqp_url, f"{amqp_prefix}unheard") == 1
        # A later release listens to it.
        await declare(amqp_url, topology_for(amqp_prefix, one, Listener().subscriber("two", "b")))
        assert await bus.publish(letters("b")) == [None]
        assert await waiting_in(amqp_url, f"{amqp_prefix}unheard") == 1
        assert await waiting_in(amqp_url, f"{amqp_prefix}two") == 1
    async with channel_to(amqp_url) as channel:
        await topology_for(amqp_prefix, Listener().subscriber("two", "b")).delete(channel)


class EagerBus(HopefulBus):
    """A control's bus: it publishes as soon as the exchange and some queue are there."""


async def nothing_before_all_is_declared(url: str, prefix: str, bus_type: type[RabbitBus] = RabbitBus) -> None:
    """A service that starts before the deployment declared the other queues: the fact reaches every queue."""
    one, two = Listener(), Listener()
    topology = topology_for(prefix, one.subscriber("one", "a"), two.subscriber("two", "a"))
    bus = bus_type(url, "test", prefix=prefix)
    bus.subscribe(one.subscriber("one", "a"))
    try:
        async with channel_to(url) as channel:
            await channel.declare_exchange(prefix + EXCHANGE, aio_pika.ExchangeType.TOPIC, durable=True)
            await topology.declare_queue(channel, "one")
        async with bus.running():
            sending = asyncio.create_task(bus.publish(letters("a")))
            await asyncio.sleep(0.5)
            await declare(url, topology)
            assert await sending == [None]
            assert await waiting_in(url, f"{prefix}two") == 1, "a service that has never run misses nothing"
            await eventually(lambda: one.got == ["x"])
    finally:
        async with channel_to(url) as channel:
            await topology.delete(channel)


async def test_nothing_is_sent_before_every_queue_is_declared(amqp_url: str, amqp_prefix: str) -> None:
    await nothing_before_all_is_declared(amqp_url, amqp_prefix)


async def test_control_a_bus_that_does_not_look_leaves_a_service_out(amqp_url: str, amqp_prefix: str) -> None:
    await must_fail(nothing_before_all_is_declared, amqp_url, amqp_prefix, EagerBus)


async def test_a_broker_that_is_away_counts_no_attempt_and_nothing_hangs(
    databases: Databases, amqp_url: str, amqp_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "PUBLISH_TIMEOUT_S", 0.3)
    listener = Listener()
    async with (
        setting(databases) as stage,
        proxied(amqp_url) as (proxy, url),
        over_rabbit(url, amqp_prefix, listener.subscriber("one", REGISTERED)) as bus,
    ):
        db = await stage.database()
        relay = Relay(db, bus)
        assert await bus.publish(letters(REGISTERED)) == [None]
        for outage in (proxy.refuse, proxy.silence):
            await tell(db, 3)
            outage()
            for _ in range(2):
                async with asyncio.timeout(3):
                    with suppress(BusAway):
                        assert await send_once(relay, db) == 0
            assert [row.attempts for row in await rows_of(db, outbox)] == [0, 0, 0]
            proxy.heal()
            async with running(relay.run()):
                await eventually(lambda: emptied(db), within_s=15)
        await eventually(lambda: len(set(listener.got)) == 7, within_s=15)


async def acknowledges_while_held_up(url: str, prefix: str, held_up: bytes) -> None:
    """A broker short of memory tells connections to wait; what was consumed is acknowledged all the same."""
    listener = Listener()
    one = listener.subscriber("one", "a")
    async with declared(url, topology_for(prefix, one)), proxied(url) as (proxy, through):
        bus = RabbitBus(through, "test", prefix=prefix)
        bus.subscribe(one)
        async with bus.running():
            assert await bus.publish(letters("a", "1")) == [None]
            await eventually(lambda: listener.got == ["1"])
            assert proxy.say(marshal(Connection.Blocked(reason="low on memory"), 0), to=held_up)
            proxy.stop_reading(held_up)
            await asyncio.sleep(0.1)
            with pytest.raises(BusAway):
                await bus.publish(letters("a", "refused"))
            async with publishing_by(url, prefix) as other:
                assert await other.publish(letters("a", "2")) == [None]
                await eventually(lambda: listener.got == ["1", "2"])
                await asyncio.sleep(0.2)
                proxy.cut()  # what was not acknowledged comes again
                proxy.heal()
                await eventually(lambda: sent(bus, "3"))
                await eventually(lambda: "3" in listener.got)
        assert listener.got == ["1", "2", "3"]


async def sent(bus: Bus, document: str) -> bool:
    with suppress(BusAway):
        return await bus.publish(letters("a", document)) == [None]
    return False


async def test_a_broker_that_holds_up_publishers_still_gets_its_acknowledgements(
    amqp_url: str, amqp_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "PUBLISH_TIMEOUT_S", 0.5)
    await acknowledges_while_held_up(amqp_url, amqp_prefix, b"publishing")


async def test_control_on_one_connection_with_publishing_acknowledgements_would_wait_too(
    amqp_url: str, amqp_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "PUBLISH_TIMEOUT_S", 0.5)
    monkeypatch.setattr(consumer, "WATCH_S", 3600)  # it would take the silence for an outage
    await must_fail(acknowledges_while_held_up, amqp_url, amqp_prefix, b"")


# ---- Consuming ------------------------------------------------------------------------------------------------------


async def test_connections_cut_under_load_lose_nothing_and_double_no_effect(
    databases: Databases, amqp_url: str, amqp_prefix: str
) -> None:
    async with setting(databases) as stage, proxied(amqp_url) as (proxy, url):

        @asynccontextmanager
        async def wire(*subscribers: Any) -> AsyncIterator[Bus]:
            async with over_rabbit(url, amqp_prefix, *subscribers) as bus:
                yield bus

        async with lay(stage, wire) as line, running(line.relay.run()):
            told: set[str] = set()
            for _ in range(5):
                for _ in range(10):
                    told |= await tell(line.sender, 10)
                    await asyncio.sleep(0.03)
                proxy.cut()
            await line.settle(told, within_s=30)
            for had in await line.effects():
                assert set(had) == told
                assert max(had.values()) == 1
            assert proxy.connections >= 2 * 5, "every cut hit the connections of publishing and consuming"


async def test_a_consumer_comes_back_after_silence(amqp_url: str, amqp_prefix: str) -> None:
    listener = Listener()
    async with (
        proxied(amqp_url) as (proxy, url),
        over_rabbit(url, amqp_prefix, listener.subscriber("one", "a")) as bus,
        publishing_by(amqp_url, amqp_prefix) as other,
    ):
        assert await bus.publish(letters("a", "1")) == [None]
        await eventually(lambda: listener.got == ["1"])
        proxy.silence()
        assert await other.publish(letters("a", "2")) == [None]
        await asyncio.sleep(1)
        assert listener.got == ["1"]
        proxy.heal()
        await eventually(lambda: listener.got == ["1", "2"], within_s=15)


@asynccontextmanager
async def publishing_by(url: str, prefix: str) -> AsyncIterator[Bus]:
    bus = RabbitBus(url, "other", prefix=prefix)
    async with bus.running():
        yield bus


async def test_a_queue_that_was_deleted_is_made_and_consumed_anew(amqp_url: str, amqp_prefix: str) -> None:
    listener = Listener()
    async with over_rabbit(amqp_url, amqp_prefix, listener.subscriber("one", "a")) as bus:
        await bus.publish(letters("a", "1"))
        await eventually(lambda: listener.got == ["1"])
        async with channel_to(amqp_url) as channel:
            await channel.queue_delete(f"{amqp_prefix}one")

        async def arrives() -> bool:
            await bus.publish(letters("a", "2"))
            return "2" in listener.got

        await eventually(arrives)


async def lost_binding_is_noticed(url: str, prefix: str, within_s: float = 30) -> None:
    """Of two listeners one loses its binding: its letters would be missing, and nobody told."""
    first, second = Listener(), Listener()
    async with over_rabbit(url, prefix, first.subscriber("one", "a"), second.subscriber("two", "a")) as bus:
        await eventually(lambda: has_consumer(url, f"{prefix}one"))
        async with channel_to(url) as channel:
            queue = await channel.get_queue(f"{prefix}one")
            await queue.unbind(prefix + EXCHANGE, "a")

        async def arrives() -> bool:
            assert await bus.publish(letters("a", "1")) == [None]
            return bool(first.got) and bool(second.got)

        await eventually(arrives, within_s=within_s)


async def test_a_binding_that_was_taken_away_is_made_anew(
    amqp_url: str, amqp_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "WATCH_S", 0.5)
    await lost_binding_is_noticed(amqp_url, amqp_prefix)


@pytest.mark.usefixtures("_nobody_watches")
async def test_control_without_the_watch_a_listener_goes_without(amqp_url: str, amqp_prefix: str) -> None:
    await must_fail(lost_binding_is_noticed, amqp_url, amqp_prefix, within_s=3)


async def lost_consumer_is_noticed(url: str, prefix: str, within_s: float = 30) -> None:
    """Behind our back the queue loses its consumer, and the connection stays."""
    listener = Listener()
    async with over_rabbit(url, prefix, listener.subscriber("one", "a")) as bus:
        await eventually(lambda: has_consumer(url, f"{prefix}one"))
        [channel] = CHANNELS
        for tag in list(channel.consumers):
            await channel.basic_cancel(tag)
        await bus.publish(letters("a", "1"))
        await eventually(lambda: listener.got == ["1"], within_s)


async def has_consumer(url: str, queue: str) -> bool:
    async with channel_to(url) as channel:
        seen = await channel.declare_queue(queue, passive=True)
    return bool(seen.declaration_result.consumer_count)


# The channels on which queues are emptied, for a test to break them.
CHANNELS: list[Any] = []


@pytest.fixture
def _note_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    CHANNELS.clear()
    original = consumer.Consumer._empty

    async def noting(self: Any, channel: Any, queue: Any, receive: Any) -> None:
        if not queue.name.endswith(".dead"):
            CHANNELS.append(await channel.get_underlay_channel())
        await original(self, channel, queue, receive)

    monkeypatch.setattr(consumer.Consumer, "_empty", noting)


@pytest.mark.usefixtures("_note_channels")
async def test_a_queue_without_consumer_is_noticed_and_consumed_again(amqp_url: str, amqp_prefix: str) -> None:
    await lost_consumer_is_noticed(amqp_url, amqp_prefix)


@pytest.mark.usefixtures("_note_channels")
async def test_control_without_the_watch_nobody_notices(
    amqp_url: str, amqp_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "WATCH_S", 3600)
    await must_fail(lost_consumer_is_noticed, amqp_url, amqp_prefix, within_s=3)


async def a_consumer_that_never_lasts_is_trouble(
    url: str, prefix: str, monkeypatch: pytest.MonkeyPatch, within_s: float = 30
) -> None:
    """Every connection is made and everything declared, and yet the queue never has a consumer."""
    monkeypatch.setattr(link, "TROUBLE_AFTER_S", 1)

    async def consume_nothing(*_: Any, **__: Any) -> str:
        return "none"

    monkeypatch.setattr(Queue, "consume", consume_nothing)
    async with over_rabbit(url, prefix, Listener().subscriber("one", "a")) as bus:
        await eventually(lambda: "has no consumer" in str(bus.trouble()), within_s)


async def test_a_consumer_that_is_lost_after_each_new_connection_is_trouble(
    amqp_url: str, amqp_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await a_consumer_that_never_lasts_is_trouble(amqp_url, amqp_prefix, monkeypatch)


async def test_control_where_every_connection_counts_as_service_it_is_not(
    amqp_url: str, amqp_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = consumer.Consumer._use

    async def satisfied(self: Any, connection: Any) -> None:
        self._link.serves()
        await original(self, connection)

    monkeypatch.setattr(consumer.Consumer, "_use", satisfied)
    await must_fail(a_consumer_that_never_lasts_is_trouble, amqp_url, amqp_prefix, monkeypatch, within_s=5)


async def test_a_queue_of_another_make_is_said_and_means_trouble_until_it_is_gone(
    amqp_url: str, amqp_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "TROUBLE_AFTER_S", 0.3)
    listener = Listener()
    topology = topology_for(amqp_prefix, listener.subscriber("one", "a"))
    async with channel_to(amqp_url) as channel:
        await channel.declare_exchange(amqp_prefix + EXCHANGE, aio_pika.ExchangeType.TOPIC, durable=True)
        await channel.declare_queue(f"{amqp_prefix}one", durable=True)
    bus = RabbitBus(amqp_url, "test", prefix=amqp_prefix)
    bus.subscribe(listener.subscriber("one", "a"))
    async with bus.running():
        await eventually(lambda: "TopologyDiffers" in str(bus.trouble()))
        assert "inequivalent arg" in str(bus.trouble()), "the broker says what differs"
        async with channel_to(amqp_url) as channel:
            await channel.queue_delete(f"{amqp_prefix}one")
        await declare(amqp_url, topology)
        await eventually(lambda: bus.trouble() is None)
        await bus.publish(letters("a", "1"))
        await eventually(lambda: listener.got == ["1"])
    async with channel_to(amqp_url) as channel:
        await topology.delete(channel)


async def test_a_broker_that_is_away_is_no_trouble_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "TROUBLE_AFTER_S", 0.1)
    bus = RabbitBus("amqp://guest:guest@127.0.0.1:1/", "test")
    bus.subscribe(Listener().subscriber("one", "a"))
    async with bus.running():
        await asyncio.sleep(0.5)
        assert bus.trouble() is None


async def test_letters_that_cannot_be_taken_in_stay_in_hand_and_count_no_delivery(
    amqp_url: str, amqp_prefix: str
) -> None:
    listener = Listener("fails")
    async with over_rabbit(amqp_url, amqp_prefix, listener.subscriber("one", "a")) as bus:
        await bus.publish(letters("a", "1", "2"))
        await asyncio.sleep(3)  # 30 attempts, more than the broker would deliver
        listener.mood = "well"
        await eventually(lambda: sorted(listener.got) == ["1", "2"])
        assert listener.buried == []
        assert await waiting_in(amqp_url, f"{amqp_prefix}one.dead") == 0


async def test_what_is_in_hand_at_the_stop_is_finished_and_acknowledged(amqp_url: str, amqp_prefix: str) -> None:
    listener = Listener("hangs")
    one = listener.subscriber("one", "a")
    async with declared(amqp_url, topology_for(amqp_prefix, one)):
        bus = RabbitBus(amqp_url, "test", prefix=amqp_prefix)
        bus.subscribe(one)
        async with bus.running():
            await bus.publish(letters("a", "1"))
            await eventually(lambda: nothing_waits(amqp_url, f"{amqp_prefix}one"))
            asyncio.get_running_loop().call_later(0.5, setattr, listener, "mood", "well")
        assert listener.got == ["1"]
        await asyncio.sleep(0.2)
        assert await waiting_in(amqp_url, f"{amqp_prefix}one") == 0


async def nothing_waits(url: str, queue: str) -> bool:
    return await waiting_in(url, queue) == 0


# ---- What the broker gives up on ------------------------------------------------------------------------------------


async def give_back(url: str, queue: str, times: int) -> None:
    """What a process does that dies on a letter, again and again."""
    async with channel_to(url) as channel:
        found = await channel.get_queue(queue)
        for _ in range(times):
            message = await found.get(fail=False, timeout=5)
            if message is None:
                return
            await message.reject(requeue=True)


async def test_a_letter_given_up_by_the_broker_becomes_a_dead_letter_in_the_database(
    databases: Databases, amqp_url: str, amqp_prefix: str
) -> None:
    async with setting(databases) as stage, lay(stage) as line:
        inbox = line.inboxes[0]
        subscriber = Listener().subscriber("one", REGISTERED)
        async with declared(amqp_url, topology_for(amqp_prefix, subscriber)):
            async with publishing_by(amqp_url, amqp_prefix) as bus:
                [event_id] = await tell(line.sender)
                await send_once(Relay(line.sender, bus), line.sender)
            await give_back(amqp_url, f"{amqp_prefix}one", DELIVERY_LIMIT + 1)
            await eventually(lambda: one_waits(amqp_url, f"{amqp_prefix}one.dead"))
            bus = RabbitBus(amqp_url, "test", prefix=amqp_prefix)
            bus.subscribe(Subscriber("one", subscriber.routing_keys, inbox.receive, inbox.bury))
            async with bus.running():
                await eventually(lambda: buried(inbox._db))
            [row] = await rows_of(inbox._db, parked)
            assert (row.state, event_id in row.document) == ("dead", True)
            assert await effects(inbox._db) == {}
            assert await waiting_in(amqp_url, f"{amqp_prefix}one.dead") == 0


async def one_waits(url: str, queue: str) -> bool:
    return await waiting_in(url, queue) == 1


async def buried(db: Any) -> bool:
    return await count_of(db, parked) == 1


async def test_control_a_queue_without_dead_letter_exchange_drops_it(amqp_url: str, amqp_prefix: str) -> None:
    name = f"{amqp_prefix}bare"
    async with channel_to(amqp_url) as channel:
        await channel.declare_queue(
            name, durable=True, arguments={"x-queue-type": "quorum", "x-delivery-limit": DELIVERY_LIMIT}
        )
        await channel.default_exchange.publish(aio_pika.Message(b"x"), name)
        await give_back(amqp_url, name, DELIVERY_LIMIT + 1)
        assert await waiting_in(amqp_url, name) == 0
        await channel.queue_delete(name)


async def test_two_copies_share_a_queue_and_2000_letters_in_up_to_5_copies_have_2000_effects(
    databases: Databases, amqp_url: str, amqp_prefix: str
) -> None:
    """Both copies consume at once, on one database."""
    chance = random.Random(7)
    async with setting(databases) as stage:
        first = await stage.database()
        copies = [Inbox(first, HANDLERS), Inbox(await stage.database(first.url), HANDLERS)]
        subscribers = [Subscriber("one", frozenset({REGISTERED}), copy.receive, copy.bury) for copy in copies]
        async with over_rabbit(amqp_url, amqp_prefix, *subscribers) as bus:
            told = documents(*(registered() for _ in range(2000)))
            sent = [document for document in told for _ in range(chance.randint(1, 5))]
            chance.shuffle(sent)
            for start in range(0, len(sent), 500):
                batch = [Letter(uuid4(), REGISTERED, document) for document in sent[start : start + 500]]
                assert not any(await bus.publish(batch))
            await eventually(lambda: had_all(first, 2000), within_s=60)
            await eventually(lambda: nothing_waits(amqp_url, f"{amqp_prefix}one"))
        assert max((await effects(first)).values()) == 1
        assert await count_of(first, parked) == 0


async def had_all(db: Any, count: int) -> bool:
    return len(await effects(db)) == count
