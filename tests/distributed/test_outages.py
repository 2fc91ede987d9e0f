"""A part that stops takes along what it alone can answer; the others go on, and what it missed it makes up for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from tests.distributed.neighbours import NONE_YET, consequences, publish, take_part, until_all_has_followed
from tests.journeys.compose import RECOVERY_S, SERVICES, ComposeStack
from tests.journeys.people import Actor, sign_in

ROUTES = {
    "members": "/me",
    "catalog": "/products",
    "orders": "/me/claims",
    "points": "/me/points",
    "notify": "/me/messages",
}
REFUSAL_S = 3.0


@pytest.fixture
def member(person: Actor, area: str) -> Actor:
    """Somebody who can claim, and has no points and no message yet."""
    person.post("/registrations", {"area_id": area})
    return person


@contextmanager
def without(stack: ComposeStack, *parts: str) -> Iterator[None]:
    """Stopped as long as the block lasts; started again and healthy afterwards."""
    stack.stop(*parts)
    try:
        yield
    finally:
        stack.start(*parts)


def unavailable(member: Actor) -> set[str]:
    """Whose route is answered 503, soon and with the advice to try later; every other one is answered."""
    found = set()
    for service, path in ROUTES.items():
        began = time.monotonic()
        answer = member.http.get(path)
        assert time.monotonic() - began < REFUSAL_S, path
        if answer.status_code == 503:
            assert int(answer.headers["retry-after"]) > 0
            assert answer.headers["content-type"] == "application/problem+json"
            found.add(service)
        else:
            assert answer.status_code == 200, answer.text
    return found


@pytest.mark.parametrize("away", SERVICES)
def test_a_service_that_stops_takes_its_own_routes_along_and_catches_up(
    stack: ComposeStack, away: str, member: Actor, staff: Actor, area: str
) -> None:
    offered = [publish(staff, area)]
    work = {
        "catalog": lambda: offered.append(publish(staff, area)),
        "orders": lambda: take_part(member, staff, offered[0]),
    }
    assert unavailable(member) == set()
    with without(stack, away):
        assert unavailable(member) == {away}
        for owner, deed in work.items():
            if owner != away:
                deed()
    stack.until_ready()
    assert unavailable(member) == set()
    if away in work:
        work[away]()
    until_all_has_followed(member, offered[0])
    with sign_in(stack.url) as newcomer:
        newcomer.post("/registrations", {"area_id": area})
        take_part(newcomer, staff, offered[1])
        until_all_has_followed(newcomer, offered[1])


def test_while_the_broker_is_away_everything_is_accepted_and_follows_when_it_is_back(
    stack: ComposeStack, member: Actor, staff: Actor, area: str
) -> None:
    known = publish(staff, area)
    with without(stack, "rabbitmq"):
        take_part(member, staff, known)
        published_meanwhile = publish(staff, area)
        assert unavailable(member) == set()
        assert consequences(member, known) == NONE_YET
    until_all_has_followed(member, known)
    with sign_in(stack.url) as newcomer:
        newcomer.post("/registrations", {"area_id": area})
        take_part(newcomer, staff, published_meanwhile)


def test_while_the_database_is_away_all_is_503_and_afterwards_nothing_has_to_be_started(
    stack: ComposeStack, member: Actor, staff: Actor, area: str
) -> None:
    product = publish(staff, area)
    before = started_at(stack)
    with without(stack, "postgres"):
        assert unavailable(member) == set(SERVICES)
        assert httpx.get(stack.url + "/healthz").status_code == 200
    stack.until_ready(within=RECOVERY_S)
    assert unavailable(member) == set()
    take_part(member, staff, product)
    until_all_has_followed(member, product)
    assert started_at(stack) == before


def started_at(stack: ComposeStack) -> dict[str, str]:
    return {container["Name"]: container["State"]["StartedAt"] for container in stack.inspect(*SERVICES, "gateway")}
