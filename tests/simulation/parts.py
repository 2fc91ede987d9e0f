"""Of what a simulated installation is built: the services' real parts. A control puts a weaker one in the place of one.

What a service does by itself is not left to run here: the scheduler calls it, as a chore.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from chassis.batching import GroupCommit
from chassis.inbox import Handler, Inbox
from chassis.outbox import Relay
from chassis.service import Runtime, _keep_house
from contracts.event import Event
from services.members.housekeeping import forget_old_sign_in_data
from services.members.parts import build_parts
from services.notify.channels import SandboxChannel
from services.notify.deliveries import Sender
from services.notify.lookups import Lookups
from services.notify.parts import Parts as NotifyParts
from services.notify.wakes import Wakes
from services.notify.wording import Wording
from services.orders.bookings import take_seats
from services.orders.claims import accept_claims
from services.orders.leases import release_expired
from services.orders.parts import Parts as OrdersParts
from services.orders.redemptions import end_overdue, place_redemptions
from services.points import holds
from services.points.scores import forget_empty_counts

Chores = dict[str, Callable[[], Awaitable[object]]]
DELIVERIES_AT_ONCE = 8
# Every process would read the same texts.
WORDING = Wording()


@dataclass(frozen=True)
class Build:
    """Which parts the processes get. `handlers` take the place of a service's own for the same facts."""

    inbox: type[Inbox] = Inbox
    relay: type[Relay] = Relay
    handlers: Mapping[str, Mapping[type[Event], Handler]] = field(default_factory=dict)
    accept_claims: Any = accept_claims
    take_seats: Any = take_seats
    place_redemptions: Any = place_redemptions


async def open_parts(stack: AsyncExitStack, name: str, runtime: Runtime, build: Build) -> tuple[Any, Chores]:
    """The parts of the service of this name, and what it does by itself from time to time."""
    if name == "orders":
        return await _orders(stack, runtime, build)
    if name == "points":
        return None, {"release_expired_holds": lambda: holds.release_expired(runtime.db)}
    if name == "notify":
        return _notify(runtime)
    if name == "members":
        return build_parts(runtime.settings, runtime.world), {}
    return None, {}


async def _orders(stack: AsyncExitStack, runtime: Runtime, build: Build) -> tuple[OrdersParts, Chores]:
    db = runtime.db
    parts = OrdersParts(
        await stack.enter_async_context(GroupCommit(db, build.accept_claims)),
        await stack.enter_async_context(GroupCommit(db, build.take_seats)),
        await stack.enter_async_context(GroupCommit(db, build.place_redemptions)),
    )
    return parts, {"release_expired_claims": lambda: release_expired(db), "end_overdue": lambda: end_overdue(db)}


def _notify(runtime: Runtime) -> tuple[NotifyParts, Chores]:
    assert runtime.signer is not None
    parts = NotifyParts(WORDING, Wakes())
    parts.wakes.attach(runtime.db)
    lookups = Lookups(runtime.members, runtime.signer, runtime.world)
    sender = Sender(runtime.db, lookups, {"sms": SandboxChannel(runtime.db)}, parts.wording, parts.wakes)

    async def send() -> int:
        # One after another, where the sender has eight under way: a step has one outcome.
        claimed = await sender._claim(DELIVERIES_AT_ONCE)
        for delivery in claimed:
            await sender._send(delivery)
        return len(claimed)

    return parts, {"send": send}


async def keep_house(name: str, runtime: Runtime) -> None:
    """What is forgotten after days."""
    await _keep_house(runtime)
    if name == "members":
        async with runtime.db.transaction() as session:
            await forget_old_sign_in_data(session, runtime.world.now())
    if name == "points":
        async with runtime.db.transaction() as session:
            await forget_empty_counts(session)
