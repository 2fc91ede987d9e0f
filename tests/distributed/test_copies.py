"""Several copies of a service share its database and its queue, and one of them ends without anybody noticing."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from uuid import uuid4

import pytest

from chassis.outbox import RELAY_LOCK
from tests.distributed.broker_api import BrokerApi
from tests.distributed.load import ONCE, Load
from tests.distributed.neighbours import publish, take_part, until_all_has_followed
from tests.journeys.compose import RECOVERY_S, ComposeStack, wait_until
from tests.journeys.people import Actor, sign_in
from tests.journeys.test_loop import (
    people,
    test_a_need_becomes_a_project_that_is_claimed_done_reviewed_and_scored,
    test_a_party_books_waits_moves_up_comes_and_is_told_by_sms,
    test_points_are_spent_on_a_reward_that_is_collected_at_a_centre,
)

# The loop is collected here once more, and so played with copies.
__all__ = [
    "people",
    "test_a_need_becomes_a_project_that_is_claimed_done_reviewed_and_scored",
    "test_a_party_books_waits_moves_up_comes_and_is_told_by_sms",
    "test_points_are_spent_on_a_reward_that_is_collected_at_a_centre",
]

COPIES = {"orders": 3, "points": 2}
CROWD = 16
CAPACITY = 5
ROUNDS = 5
# Ten seconds until PostgreSQL gives up on a silent connection, and the next election.
VANISHED_WITHIN_S = 25.0


@pytest.fixture(scope="module", autouse=True)
def copies(stack: ComposeStack) -> Iterator[None]:
    """More than one copy of some services for this module."""
    stack.scale(**COPIES)
    yield
    stack.scale(**dict.fromkeys(COPIES, 1))


@pytest.fixture(scope="module")
def crowd(stack: ComposeStack, area: str) -> Iterator[list[Actor]]:
    """Members who can claim."""
    with ExitStack() as open_actors:
        members = [open_actors.enter_context(sign_in(stack.url)) for _ in range(CROWD)]
        for member in members:
            member.post("/registrations", {"area_id": area})
        yield members


def test_every_queue_has_as_many_consumers_as_its_service_has_copies(broker_api: BrokerApi) -> None:
    expected = {name: COPIES.get(name.removesuffix(".dead"), 1) for name in broker_api.queues()} | {"unheard": 0}
    wait_until(lambda: broker_api.consumers() == expected, RECOVERY_S, "not every copy consumes")


def test_capacity_is_exact_when_many_claim_at_once_at_all_copies(
    stack: ComposeStack, crowd: list[Actor], staff: Actor, area: str
) -> None:
    def claim(product: str, member: Actor) -> str:
        claimant = {"claimant": {"type": "member", "id": member.id}}
        key = {"Idempotency-Key": uuid4().hex}
        answer = member.http.post(f"/products/{product}/claims", json=claimant, headers=key)
        return "accepted" if answer.status_code == 201 else str(answer.json()["type"]).rpartition(":")[2]

    products = [publish(staff, area, capacity=CAPACITY) for _ in range(ROUNDS)]
    with ThreadPoolExecutor(CROWD) as pool:
        for product in products:
            answers = Counter(pool.map(lambda member, product=product: claim(product, member), crowd))
            assert answers == {"accepted": CAPACITY, "sold_out": CROWD - CAPACITY}
    assert all(connections(stack, container) for container in stack.containers("orders"))


def connections(stack: ComposeStack, container: str) -> int:
    """How many connections the container's server has."""
    rows = [line.split() for line in stack.docker("exec", container, "cat", "/proc/net/tcp").splitlines()[1:]]
    port, established = f":{8000:04X}", "01"
    return sum(local.endswith(port) and state == established for _, local, _, state, *_ in rows)


def knows(stack: ComposeStack, product: str) -> bool:
    """Whether orders has its copy of the product."""
    query = f"SELECT count(*) FROM product_offers WHERE product_id = '{product}'"  # noqa: S608 - of ours
    return stack.execute("postgres", "psql", "-U", "postgres", "-d", "linli_orders", "-At", "-c", query).strip() == "1"


def relays(stack: ComposeStack, service: str) -> list[str]:
    """Addresses of the copies that are elected to send the outbox of a service."""
    query = f"""
        SELECT host(client_addr) FROM pg_locks JOIN pg_stat_activity USING (pid)
        WHERE locktype = 'advisory' AND objid = {RELAY_LOCK} AND granted AND datname = 'linli_{service}'
    """  # noqa: S608 - of ours
    return stack.execute("postgres", "psql", "-U", "postgres", "-At", "-c", query).split()


def elected_copy(stack: ComposeStack) -> tuple[str, str]:
    """Address and id of the copy of orders that sends."""
    [elected] = relays(stack, "orders")
    addresses = {
        container["NetworkSettings"]["Networks"][f"{stack.project}_inner"]["IPAddress"]: container["Id"]
        for container in stack.inspect("orders")
    }
    assert len(addresses) == COPIES["orders"]
    return elected, addresses[elected]


def test_when_the_copy_that_sends_loses_its_network_another_does(
    stack: ComposeStack, person: Actor, staff: Actor, area: str
) -> None:
    elected, container = elected_copy(stack)
    person.post("/registrations", {"area_id": area})
    product = publish(staff, area)
    # Else the letter about it may be in the hands of the copy that goes, until the broker misses its heartbeats.
    wait_until(lambda: knows(stack, product), RECOVERY_S, "orders has not heard of the product")
    network = f"{stack.project}_inner"
    stack.docker("network", "disconnect", network, container)
    try:
        wait_until(lambda: relays(stack, "orders") not in ([], [elected]), VANISHED_WITHIN_S, "the lost one is elected")
        take_part(person, staff, product)
        until_all_has_followed(person, product)
    finally:
        stack.docker("network", "connect", "--alias", "orders", network, container)
        stack.until_ready(within=60)


def test_one_copy_sends_and_when_it_dies_another_does(
    stack: ComposeStack, person: Actor, staff: Actor, area: str
) -> None:
    elected, container = elected_copy(stack)
    person.post("/registrations", {"area_id": area})
    product = publish(staff, area)
    stack.docker("kill", container)
    try:
        take_part(person, staff, product)
        until_all_has_followed(person, product)
        wait_until(lambda: len(relays(stack, "orders")) == 1, RECOVERY_S, "no copy is elected")
        assert relays(stack, "orders") != [elected]
    finally:
        stack.docker("start", container)
        stack.until_healthy("orders")


def busiest(stack: ComposeStack) -> str:
    """The copy of orders to which the gateway has most connections."""
    found = {container: connections(stack, container) for container in stack.containers("orders")}
    assert max(found.values()) > 0
    return max(found, key=lambda container: found[container])


def test_a_copy_that_is_told_to_stop_under_load_fails_no_request(
    stack: ComposeStack, crowd: list[Actor], staff: Actor, area: str
) -> None:
    load = Load()
    with load.by(crowd, [publish(staff, area) for _ in crowd]):
        copy = busiest(stack)
        stack.docker("stop", copy)
    assert load.failures == []
    assert min(load.answered.values()) > 100
    stack.docker("start", copy)
    stack.until_healthy("orders")


def test_control_a_copy_that_is_killed_under_load_fails_what_may_not_be_sent_again(
    stack: ComposeStack, crowd: list[Actor], staff: Actor, area: str
) -> None:
    load = Load()
    with load.by(crowd, [publish(staff, area) for _ in crowd]):
        copy = busiest(stack)
        stack.docker("pause", copy)  # so that it has requests in hand when it dies
        time.sleep(2)
        stack.docker("kill", copy)
    kinds = {kind for kind, _ in load.failures}
    assert kinds, "no request was in hand"
    assert kinds <= ONCE, load.failures
    stack.docker("start", copy)
    stack.until_healthy("orders")
