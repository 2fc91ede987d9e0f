"""Deliveries: a message's way through a channel, from its row to the provider and back into the row.

A row is claimed in one transaction (state sending, a lease), the network is used outside of any, and a second one
writes what came of it. Whoever dies in between leaves a row that is tried again after its lease, with the same key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import structlog
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.background import wait_at_most
from chassis.db import Database, world_of
from chassis.outbox import emit
from contracts.notify import MessageDelivered, MessageFailed
from services.notify.channels import Channel
from services.notify.lookups import Contact, Lookups
from services.notify.models import Delivery
from services.notify.wakes import Wakes, wake_sender_after_commit
from services.notify.wording import Wording, known_locale

ATTEMPTS_MAX = 6
RETRY_PAUSE_S = (1, 5, 15, 60, 300)
ATTEMPT_TIMEOUT_S = 10.0
LEASE_S = 30
SENDING_MAX = 8
# To one person, about what they did: who books and cancels all day long does it at our expense. Sign-in codes have caps
# of their own, in members.
SMS_A_DAY_MAX = 30
DAY = timedelta(days=1)
POLL_S = 1.0
DRAIN_S = 5.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What came of one attempt. `cause` is a reason or an error's class, never its text: that could hold a contact."""

    state: Literal["sent", "skipped", "error"]
    cause: str | None = None


def queue_deliveries(session: AsyncSession, deliveries: Sequence[Delivery]) -> None:
    """Have the deliveries sent as soon as this transaction has committed."""
    if deliveries:
        session.add_all(deliveries)
        wake_sender_after_commit(session)


class Sender:
    """Sends what is due; copies of the service share the rows and never hold the same one at once."""

    def __init__(
        self, db: Database, lookups: Lookups, channels: Mapping[str, Channel], wording: Wording, wakes: Wakes
    ) -> None:
        self._db = db
        self._lookups = lookups
        self._channels = channels
        self._wording = wording
        self._wakes = wakes
        self._under_way: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Send until cancelled; what is under way then may still end."""
        try:
            while True:
                self._wakes.sender.clear()
                if not await self._start_due():
                    await wait_at_most(self._wakes.sender, POLL_S)
        finally:
            await self._drain()

    async def _start_due(self) -> int:
        """Start an attempt for each due row, as far as places are free; returns how many were started."""
        places = SENDING_MAX - len(self._under_way)
        try:
            claimed = await self._claim(places) if places else []
        except Exception as error:
            log.warning("sender_interrupted", cause=type(error).__name__)
            return 0
        for delivery in claimed:
            task = asyncio.create_task(self._send(delivery))
            self._under_way.add(task)
            task.add_done_callback(self._ended)
        return len(claimed)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if len(self._under_way) == SENDING_MAX:
            self._wakes.sender.set()
        self._under_way.discard(task)

    async def _drain(self) -> None:
        if not self._under_way:
            return
        _, late = await asyncio.wait(self._under_way, timeout=DRAIN_S)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _claim(self, limit: int) -> Sequence[Delivery]:
        now = self._db.world.now()
        due = (
            select(Delivery.id)
            .where(Delivery.state.in_(["waiting", "sending"]), Delivery.due_at <= now)
            .order_by(Delivery.due_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
            .cte("due")
        )
        async with self._db.transaction() as session:
            claim = (
                update(Delivery)
                .where(Delivery.id.in_(select(due.c.id)))
                .values(
                    state="sending",
                    attempts=Delivery.attempts + 1,
                    due_at=now + timedelta(seconds=LEASE_S),
                    changed_at=now,
                )
                .returning(Delivery)
            )
            return (await session.scalars(claim, execution_options={"synchronize_session": False})).all()

    async def _send(self, delivery: Delivery) -> None:
        try:
            outcome = await self._attempt(delivery)
            self._db.world.failpoint("notify.attempted")
            async with self._db.transaction() as session:
                await settle(session, delivery, outcome)
        except Exception as error:
            # The row keeps its lease and is tried again after it.
            log.warning("delivery_unsettled", delivery_id=str(delivery.id), cause=type(error).__name__)

    async def _attempt(self, delivery: Delivery) -> Outcome:
        if delivery.attempts > ATTEMPTS_MAX:
            return Outcome("error", "interrupted")
        if delivery.expires_at is not None and delivery.expires_at <= self._db.world.now():
            return Outcome("skipped", "expired")
        if await self._is_one_too_many(delivery):
            return Outcome("skipped", "too many")
        channel = self._channels.get(delivery.channel)
        if channel is None:
            return Outcome("skipped", "no channel")
        try:
            async with asyncio.timeout(ATTEMPT_TIMEOUT_S):
                return await self._hand_over(delivery, channel)
        except Exception as error:
            return Outcome("error", type(error).__name__)

    async def _is_one_too_many(self, delivery: Delivery) -> bool:
        """Whether as many as the person may get within a day come before it, sent or still on their way.

        They are counted by their order, not at the moment, so that of several sent at once not each is the last one.
        """
        if delivery.person_id is None:
            return False
        before = select(Delivery.changed_at).where(
            Delivery.person_id == delivery.person_id,
            Delivery.id < delivery.id,
            Delivery.channel == delivery.channel,
            Delivery.state.in_(["waiting", "sending", "sent"]),
        )
        async with self._db.transaction() as session:
            since = await session.scalar(before.order_by(Delivery.id.desc()).offset(SMS_A_DAY_MAX - 1).limit(1))
        return since is not None and since > self._db.world.now() - DAY

    async def _hand_over(self, delivery: Delivery, channel: Channel) -> Outcome:
        contact = await self._contact(delivery)
        if contact is None or contact.phone is None:
            return Outcome("skipped", "no contact")
        params = delivery.params if contact.code is None else {**delivery.params, "code": contact.code}
        text = self._wording.render(known_locale(contact.locale), delivery.template, delivery.channel, params)
        await channel.send(contact.phone, text, delivery.id)
        return Outcome("sent")

    async def _contact(self, delivery: Delivery) -> Contact | None:
        if delivery.challenge_id is not None:
            return await self._lookups.challenge(delivery.challenge_id)
        if delivery.person_id is not None:
            return await self._lookups.contact(delivery.person_id)
        return None


async def settle(session: AsyncSession, attempted: Delivery, outcome: Outcome) -> None:
    """Write what came of an attempt and tell it, if it is final; nothing when another attempt has begun meanwhile."""
    mine = select(Delivery).where(
        Delivery.id == attempted.id, Delivery.state == "sending", Delivery.attempts == attempted.attempts
    )
    delivery = await session.scalar(mine.with_for_update())
    if delivery is None:
        return
    now = world_of(session).now()
    delivery.changed_at = now
    delivery.cause = outcome.cause
    if outcome.state == "error" and delivery.attempts < ATTEMPTS_MAX:
        delivery.state = "waiting"
        delivery.due_at = now + timedelta(seconds=RETRY_PAUSE_S[delivery.attempts - 1])
        return
    delivery.state = "failed" if outcome.state == "error" else outcome.state
    delivery.version += 1
    fact = _fact_of(delivery)
    if fact is not None:
        emit(session, fact, sequence=delivery.version)


def _fact_of(delivery: Delivery) -> MessageDelivered | MessageFailed | None:
    """What is told of a delivery that came to its end; one that was skipped never set out."""
    if delivery.state == "sent":
        return MessageDelivered(
            delivery_id=delivery.id,
            person_id=delivery.person_id,
            template=delivery.template,
            channel=delivery.channel,
        )
    if delivery.state == "failed":
        return MessageFailed(
            delivery_id=delivery.id,
            person_id=delivery.person_id,
            template=delivery.template,
            channel=delivery.channel,
            cause=delivery.cause or "",
        )
    return None
