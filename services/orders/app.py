"""Orders, assembled."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from chassis.background import every, running
from chassis.batching import GroupCommit
from chassis.service import Runtime, Service
from services.orders.api import attendance, bookings, claims, redemptions, reviews
from services.orders.bookings import take_seats
from services.orders.claims import accept_claims
from services.orders.figures import FIGURES
from services.orders.handlers import HANDLERS
from services.orders.leases import release_expired
from services.orders.models import Base
from services.orders.parts import Parts
from services.orders.personal import PERSONAL
from services.orders.redemptions import end_overdue, place_redemptions

DEADLINES_EVERY_S = 5


@asynccontextmanager
async def start(runtime: Runtime) -> AsyncIterator[Parts]:
    """Open the batches, and watch over leases and redemptions."""
    db = runtime.db
    async with (
        GroupCommit(db, accept_claims) as claim_batch,
        GroupCommit(db, take_seats) as booking_batch,
        GroupCommit(db, place_redemptions) as redemption_batch,
        running(
            every(DEADLINES_EVERY_S, lambda: release_expired(db)),
            every(DEADLINES_EVERY_S, lambda: end_overdue(db)),
        ),
    ):
        yield Parts(claim_batch, booking_batch, redemption_batch)


SERVICE = Service(
    name="orders",
    title="Orders",
    apis=[claims.api, bookings.api, attendance.api, reviews.api, redemptions.api],
    handlers=HANDLERS,
    metadata=Base.metadata,
    revisions=Path(__file__).parent / "migrations",
    personal=PERSONAL,
    start=start,
    figures=FIGURES,
)
