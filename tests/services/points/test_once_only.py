"""Events delivered several times to two consumers at once: the inbox and the ledger's key each keep effects single."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.inbox import Handler, Inbox
from contracts.event import Envelope, Event
from contracts.orders import ClaimAccepted
from services.points.awards import award_claims
from tests.harness import Databases
from tests.services.points.story import claim, require_sound_ledger, run_points

EVENTS = 300
BATCH = 20


class ForgetfulInbox(Inbox):
    """A weaker part: it does not know what it had already."""

    async def _note(self, session: AsyncSession, envelopes: Sequence[Envelope[Event]]) -> list[Envelope[Event]]:
        return list(envelopes)


async def award_every_delivery(session: AsyncSession, envelopes: Sequence[Envelope[ClaimAccepted]]) -> None:
    """A weaker part: each delivery counts as a claim of its own, so that the ledger's key never meets it again."""
    await award_claims(
        session, [Envelope(e.id, e.data.model_copy(update={"claim_id": uuid4()}), 1, e.time) for e in envelopes]
    )


@pytest.mark.parametrize(
    ("inbox", "handler", "exact"),
    [
        pytest.param(Inbox, award_claims, True, id="both lines"),
        pytest.param(Inbox, award_every_delivery, True, id="the inbox alone"),
        pytest.param(ForgetfulInbox, award_claims, True, id="the ledger's key alone"),
        pytest.param(ForgetfulInbox, award_every_delivery, False, id="control: neither"),
    ],
)
async def test_events_delivered_one_to_five_times_have_one_effect_each(
    databases: Databases, inbox: type[Inbox], handler: Handler, exact: bool
) -> None:
    chance = random.Random(7)
    async with run_points(databases) as points:
        letters = [Envelope(uuid4(), claim(uuid4()), 1, points.clock()).to_json() for _ in range(EVENTS)]
        deliveries = [letter for letter in letters for _ in range(chance.randint(1, 5))]

        async def consume() -> None:
            consumer = inbox(points.db, {ClaimAccepted: handler})
            mine = chance.sample(deliveries, len(deliveries))
            for start in range(0, len(mine), BATCH):
                await consumer.receive(mine[start : start + BATCH])

        await asyncio.gather(consume(), consume())
        async with points.db.transaction() as session:
            total = await session.scalar(text("SELECT sum(balance) FROM accounts WHERE purpose = 'main'"))
            assert await session.scalar(text("SELECT count(*) FROM parked")) == 0
        effects = await require_sound_ledger(points)
        assert total == 5 * effects
        assert (effects == EVENTS) is exact
        assert effects >= EVENTS
