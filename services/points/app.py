"""The points service as a whole."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from chassis.background import every, running
from chassis.service import HOUSEKEEPING_S, Runtime, Service
from services.points.api import leaderboards, points
from services.points.figures import FIGURES
from services.points.handlers import HANDLERS
from services.points.holds import EXPIRY_POLL_S, release_expired
from services.points.models import Base
from services.points.personal import PERSONAL
from services.points.scores import forget_empty_counts


@asynccontextmanager
async def start(runtime: Runtime) -> AsyncIterator[None]:
    """While open, holds that nobody confirms time out, and counts of scores that nobody has are forgotten."""

    async def keep_house() -> None:
        async with runtime.db.transaction() as session:
            await forget_empty_counts(session)

    async with running(
        every(EXPIRY_POLL_S, lambda: release_expired(runtime.db)),
        every(HOUSEKEEPING_S, keep_house),
    ):
        yield


SERVICE = Service(
    name="points",
    title="Linli points",
    apis=[points.api, leaderboards.api],
    handlers=HANDLERS,
    metadata=Base.metadata,
    revisions=Path(__file__).parent / "migrations",
    personal=PERSONAL,
    start=start,
    figures=FIGURES,
)
