"""Every way in which Linli is made to fail here: by name, how many orders are placed meanwhile, in how many seconds."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import uuid4

from chassis.topology import EXCHANGE
from contracts.event import Envelope
from contracts.orders import ClaimAccepted, RedemptionRequested
from tests.chaos.letters import Letters
from tests.chaos.orders import Neighbourhood, Placed
from tests.chaos.reckoning import until
from tests.chaos.stack import FailingStack, rest
from tests.journeys.compose import SERVICES, wait_until

CLAIM_ACCEPTED = ClaimAccepted.routing_key()
REDEMPTION_REQUESTED = RedemptionRequested.routing_key()
RELAY = ("relay.before_publish", "relay.after_publish", "relay.after_delete")
CONSUMER = ("consumer.before_commit", "consumer.after_commit")
HELD_UP_S = 30.0
CUT_OFF_S = 20.0
UNBOUND_S = 10.0
NOTICED_WITHIN_S = 30.0
HELD_OPEN_S = 5.0
STALLED_S = 15.0


@dataclass
class Scene:
    """What a fault acts on; `placed` fills while it does."""

    stack: FailingStack
    neighbourhood: Neighbourhood
    letters: Letters
    rng: random.Random
    run: str
    placed: Placed


Act = Callable[[Scene], None]


@dataclass(frozen=True)
class Kind:
    """One kind of fault: `act` returns when it is over and mended."""

    act: Act
    orders: int = 300
    seconds: float = 20
    # Whether every request has to be answered as if nothing were wrong.
    unnoticed: bool = False


def kill_broker(scene: Scene, times: int = 3) -> None:
    for _ in range(times):
        rest(scene.rng.uniform(2, 6))
        scene.stack.kill("rabbitmq")
        rest(scene.rng.uniform(1, 4))
        scene.stack.start("rabbitmq")


def kill_services(scene: Scene) -> None:
    for service in scene.rng.sample(SERVICES, len(SERVICES)):
        rest(scene.rng.uniform(0.5, 2))
        scene.stack.kill(service)
        rest(scene.rng.uniform(0, 2))
        scene.stack.start(service)


def crash(scene: Scene, failpoints: Sequence[str]) -> None:
    for failpoint in scene.rng.sample(failpoints, len(failpoints)):
        for service in scene.rng.sample(SERVICES, len(SERVICES)):
            scene.stack.die_at(service, failpoint)


def cut_off(scene: Scene, service: str, seconds: float = CUT_OFF_S) -> None:
    rest(2)
    scene.stack.disconnect(service)
    try:
        rest(seconds)
    finally:
        scene.stack.connect(service)
    scene.stack.until_healthy(service)


def restart_database(scene: Scene) -> None:
    rest(3)
    scene.stack.kill("postgres")
    rest(scene.rng.uniform(1, 4))
    scene.stack.start("postgres")


def cut_connections(scene: Scene, times: int = 5) -> None:
    for _ in range(times):
        rest(scene.rng.uniform(0.5, 2))
        scene.stack.sql(
            "orders", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE 'linli_%_app'"
        )


def hold_up_publishers(scene: Scene, seconds: float = HELD_UP_S) -> None:
    """The broker's memory alarm."""
    limit = "set_vm_memory_high_watermark"
    rest(2)
    scene.stack.execute("rabbitmq", "rabbitmqctl", "-q", limit, "absolute", "1MB")
    try:
        rest(seconds)
    finally:
        scene.stack.execute("rabbitmq", "rabbitmqctl", "-q", limit, "absolute", "320MiB")


def unbind(scene: Scene, seconds: float = UNBOUND_S) -> None:
    """No queue takes what redemptions ask of points: it stays in the outbox, and says why."""
    of_these = f"routing_key = '{REDEMPTION_REQUESTED}' AND cause LIKE 'Unroutable%'"
    member, begun, kept, end = scene.rng.choice(scene.neighbourhood.members), list[str](), 0, time.monotonic() + seconds
    while time.monotonic() < end or (not kept and time.monotonic() < end + NOTICED_WITHIN_S):
        # The listener makes its binding anew as soon as it looks, so more than once.
        with scene.letters.unbound(EXCHANGE, REDEMPTION_REQUESTED):
            begun.append(scene.neighbourhood.ask_for_reward(scene.placed, member))
            rest(1.5)
            found = scene.stack.sql("orders", f"SELECT count(*) FROM outbox WHERE {of_these}")  # noqa: S608
            kept = max(kept, int(found[0][0]))
    assert kept, "what no queue takes has left the outbox"
    for redemption in begun:
        scene.neighbourhood.end_redemption(redemption, member, fetch=False)


def poison(scene: Scene, times: int = 3) -> None:
    """Letters that nobody can read: each is put aside, once by everyone who listens, and holds up nothing."""
    listeners = {name for name in SERVICES if scene.letters.hears(name, EXCHANGE, CLAIM_ACCEPTED)}
    for _ in range(times):
        rest(1)
        scene.letters.send(EXCHANGE, CLAIM_ACCEPTED, f'{{"poison": "{uuid4().hex}"}}', copies=2)
    dead = "SELECT count(*) FROM parked WHERE state = 'dead' AND cause LIKE 'unreadable%'"
    for name in listeners:
        found = until(lambda name=name: int(scene.stack.sql(name, dead)[0][0]) == times, 60)  # type: ignore[misc]
        assert found, f"{name} has put aside {scene.stack.sql(name, dead)} letters, not {times}"
        scene.stack.sql(name, "DELETE FROM parked WHERE state = 'dead' AND cause LIKE 'unreadable%'")


def double_and_shuffle(scene: Scene, seconds: float = 10) -> None:
    """Every letter up to five times, late ones among newer ones."""
    with scene.letters.overheard(EXCHANGE) as spy:
        rest(seconds)
        letters = spy.take()
    again = [letter for letter in letters for _ in range(scene.rng.randint(0, 4))]
    scene.rng.shuffle(again)
    assert len(again) > 100, "too little was overheard to mean anything"
    for routing_key, document in again:
        scene.letters.send(EXCHANGE, routing_key, document)


def commit_late(scene: Scene) -> None:
    """A fact whose row has a low number and is committed when higher ones have long been sent."""
    member = scene.neighbourhood.members[0].actor.id
    for number in range(3):
        fact = a_claim(scene.neighbourhood.area, f"late {scene.run} {number}", member)
        document = Envelope(uuid4(), fact, 1, datetime.now(UTC)).to_json().replace("'", "''")
        scene.stack.sql(
            "orders",
            "BEGIN; INSERT INTO outbox (event_id, routing_key, document, next_at)"  # noqa: S608
            f" VALUES ('{uuid4()}', '{CLAIM_ACCEPTED}', '{document}', now());"
            f" DO 'BEGIN PERFORM pg_sleep({HELD_OPEN_S}); END'; COMMIT;",
        )
        told = f"SELECT count(*) FROM transfers WHERE title = '{fact.title}'"  # noqa: S608
        found = until(lambda told=told: scene.stack.sql("points", told) == [["1"]], 60)  # type: ignore[misc]
        assert found, "a fact that was committed late was never told"


def a_claim(area: str, title: str, person: str) -> ClaimAccepted:
    """A fact of which orders has no row."""
    return ClaimAccepted.model_validate(
        {
            "claim_id": uuid4(),
            "product_id": uuid4(),
            "area_id": area,
            "title": title,
            "claimant_type": "member",
            "claimant_id": person,
            "person_id": person,
            "lease_until": datetime.now(UTC) + timedelta(days=1),
        }
    )


@contextmanager
def two_copies(stack: FailingStack, service: str) -> Iterator[list[str]]:
    stack.scale(**{service: 2})
    try:
        yield stack.containers(service)
    finally:
        stack.scale(**{service: 1})


def stall_copy(scene: Scene, service: str, seconds: float = STALLED_S) -> None:
    """One copy of two stands still, with letters and perhaps locks in its hands."""
    with two_copies(scene.stack, service) as copies:
        wait_until(lambda: scene.letters.consumers(service) == 2, 60, "the second copy does not consume")
        stalled = scene.rng.choice(copies)
        scene.stack.pause(stalled)
        try:
            rest(seconds)
        finally:
            scene.stack.unpause(stalled)
        scene.stack.until_healthy(service)


FAULTS: Mapping[str, Kind] = {
    "broker killed 3 times": Kind(kill_broker, orders=3000, seconds=45),
    "services killed": Kind(kill_services, orders=600, seconds=30),
    "relays crash": Kind(partial(crash, failpoints=RELAY), orders=900, seconds=60),
    "consumers crash": Kind(partial(crash, failpoints=CONSUMER), orders=900, seconds=60),
    "orders cut off": Kind(partial(cut_off, service="orders"), seconds=30),
    "points cut off": Kind(partial(cut_off, service="points"), seconds=30),
    "database restarted": Kind(restart_database),
    "connections cut": Kind(cut_connections),
    "memory alarm": Kind(hold_up_publishers, seconds=35, unnoticed=True),
    "nothing routable": Kind(unbind, unnoticed=True),
    "poison": Kind(poison, unnoticed=True),
    "doubled and shuffled": Kind(double_and_shuffle, unnoticed=True),
    "late commits": Kind(commit_late, unnoticed=True),
    "copy of points stalls": Kind(partial(stall_copy, service="points"), seconds=30, unnoticed=True),
    "copy of orders stalls": Kind(partial(stall_copy, service="orders"), seconds=30),
}
