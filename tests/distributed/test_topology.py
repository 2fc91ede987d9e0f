"""What is on the broker is what the code says, no more and no less, and what the committed documents say."""

from __future__ import annotations

import json

import pytest

from chassis.topology import DELIVERY_LIMIT, EXCHANGE, UNHEARD, Topology, topology_of
from deploy.services import SERVICES
from tests.distributed.broker_api import BrokerApi
from tests.journeys.standalone import ROOT

NAMES = [service.name for service in SERVICES]
# A queue's consumer looks at what the broker gave up on, too.
DEAD = {name: f"{name}.dead" for name in NAMES}


@pytest.fixture(scope="module")
def topology() -> Topology:
    return topology_of(SERVICES)


def test_there_is_an_exchange_for_facts_and_one_for_the_dead_letters_of_each_service(broker_api: BrokerApi) -> None:
    exchanges = broker_api.exchanges()
    assert {name: found["type"] for name, found in exchanges.items()} == {
        EXCHANGE: "topic",
        **dict.fromkeys(DEAD.values(), "fanout"),
    }
    assert all(found["durable"] and not found["auto_delete"] for found in exchanges.values())


def test_every_queue_is_replicated_and_loses_nothing_over_what_fails(broker_api: BrokerApi) -> None:
    queues = broker_api.queues()
    assert set(queues) == {*NAMES, *DEAD.values(), UNHEARD}
    assert {found["type"] for found in queues.values()} == {"quorum"}
    for name, dead in DEAD.items():
        arguments = queues[name]["arguments"]
        assert arguments["x-dead-letter-exchange"] == dead
        assert arguments["x-dead-letter-strategy"] == "at-least-once"
        assert arguments["x-delivery-limit"] == DELIVERY_LIMIT
        assert "x-dead-letter-exchange" not in queues[dead]["arguments"]
        for loses in ("x-message-ttl", "x-expires", "x-max-length", "x-max-length-bytes"):
            assert loses not in arguments.keys() | queues[dead]["arguments"].keys()


def test_queues_are_bound_to_what_their_services_listen_to_and_nothing_else(
    broker_api: BrokerApi, topology: Topology
) -> None:
    expected = {name: {(EXCHANGE, key) for key in keys} for name, keys in topology.queues.items()}
    expected |= {dead: {(dead, dead)} for dead in DEAD.values()}
    expected[UNHEARD] = {(EXCHANGE, key) for key in topology.unheard}
    assert broker_api.bindings() == expected


def test_every_queue_has_one_consumer_a_copy_and_what_nobody_hears_has_none(broker_api: BrokerApi) -> None:
    assert broker_api.consumers() == {**dict.fromkeys([*NAMES, *DEAD.values()], 1), UNHEARD: 0}


def heard(broker_api: BrokerApi) -> set[tuple[str, str]]:
    """Who hears what, by the broker's bindings."""
    bindings = broker_api.bindings()
    return {(name, key) for name in NAMES for source, key in bindings[name] if source == EXCHANGE}


def test_the_asyncapi_document_says_the_same(broker_api: BrokerApi) -> None:
    document = json.loads((ROOT / "docs" / "asyncapi.json").read_text(encoding="utf-8"))
    operations = [operation for operation in document["operations"].values() if operation["action"] == "receive"]
    channels = document["channels"]
    said = {
        (operation["tags"][0]["name"], channels[operation["channel"]["$ref"].rpartition("/")[2]]["address"])
        for operation in operations
    }
    assert said == heard(broker_api)
    exchanges = {channel["bindings"]["amqp"]["exchange"]["name"] for channel in channels.values()}
    assert exchanges == {EXCHANGE}


def test_the_page_of_events_says_the_same(broker_api: BrokerApi) -> None:
    lines = (ROOT / "docs" / "events.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("| `")]
    listeners = {row[0].strip("`"): row[2].split(", ") for row in rows if len(row) == 5}
    assert {(name, event) for event, names in listeners.items() for name in names if name != "–"} == heard(broker_api)
    bound = {
        row[0].strip("`"): {(EXCHANGE, event.strip("`")) for event in row[1].split(", ")}
        for row in rows
        if len(row) == 2
    }
    assert bound == {queue: found for queue, found in broker_api.bindings().items() if queue not in DEAD.values()}
