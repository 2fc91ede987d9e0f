"""What RabbitMQ is told of users and rights. That it keeps to it, the tests of the distributed Linli show."""

from __future__ import annotations

import re
from typing import Any

import pytest

from chassis.settings import SERVICE_NAMES
from chassis.topology import topology_of
from contracts.event import EVENT_TYPES
from deploy.broker import ADMIN, definitions, left_over
from deploy.services import SERVICES

MADE: dict[str, Any] = definitions(dict.fromkeys((ADMIN, *SERVICE_NAMES), "…"))


def may(user: str, what: str, name: str) -> bool:
    """As RabbitMQ decides: a right is a pattern, found anywhere in the name."""
    rights = next(right for right in MADE["permissions"] if right["user"] == user)
    return re.search(rights[what], name) is not None


def may_tell(user: str, routing_key: str) -> bool:
    rights = next(right for right in MADE["topic_permissions"] if right["user"] == user)
    assert rights["exchange"] == "domain.events"
    return re.search(rights["write"], routing_key) is not None


def test_there_is_no_user_but_services_and_the_administrator() -> None:
    tags = {user["name"]: user["tags"] for user in MADE["users"]}
    assert tags.pop(ADMIN) == ["administrator"]
    assert tags == {name: [] for name in SERVICE_NAMES}
    assert {service.name for service in SERVICES} == set(SERVICE_NAMES)


@pytest.mark.parametrize("user", SERVICE_NAMES)
def test_a_service_has_its_own_queues_and_no_others(user: str) -> None:
    others = {name for name in SERVICE_NAMES if name != user}
    strange = others | {f"{name}.dead" for name in others} | {"unheard", "amq.default", "amq.gen-1", f"{user}x", ""}
    for what in ("configure", "write", "read"):
        assert {name for name in strange if may(user, what, name)} == set()
        assert may(user, what, user)
        assert may(user, what, f"{user}.dead")
        assert may(user, what, "domain.events") == (what != "configure")
        assert not may(user, what, "domainxevents")


@pytest.mark.parametrize("user", SERVICE_NAMES)
def test_a_service_tells_its_own_facts_and_no_others(user: str) -> None:
    for kind in EVENT_TYPES.values():
        assert may_tell(user, kind.routing_key()) == (kind.producer() == user)
    assert {kind.producer() for kind in EVENT_TYPES.values()} >= {"members", "orders"}, "there are some"


def test_a_binding_of_another_release_is_found_and_none_of_this_one() -> None:
    topology = topology_of(SERVICES)
    bound = {**topology.queues, "unheard": topology.unheard}
    ours = [
        {"source": "domain.events", "destination": queue, "routing_key": routing_key}
        for queue, routing_keys in bound.items()
        for routing_key in routing_keys
    ]
    others = [
        {"source": "", "destination": "orders", "routing_key": "orders"},
        {"source": "orders.dead", "destination": "orders.dead", "routing_key": ""},
    ]
    assert left_over([*ours, *others], topology) == []
    old = {"source": "domain.events", "destination": "points", "routing_key": "orders.claim_accepted.v0"}
    gone = {"source": "domain.events", "destination": "insights", "routing_key": "orders.claim_accepted.v1"}
    assert left_over([*ours, old, gone], topology) == [
        "points to orders.claim_accepted.v0",
        "insights to orders.claim_accepted.v1",
    ]
