"""The catalogue, assembled."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from chassis.service import Runtime, Service
from services.catalog.api import categories, needs, products, rewards, sessions
from services.catalog.handlers import HANDLERS
from services.catalog.models import Base
from services.catalog.personal import PERSONAL


@asynccontextmanager
async def start(_: Runtime) -> AsyncIterator[None]:
    """The catalogue keeps nothing open and does nothing in the background."""
    yield None


SERVICE = Service(
    name="catalog",
    title="Linli catalogue",
    apis=[categories.api, needs.api, products.api, sessions.api, rewards.api],
    handlers=HANDLERS,
    metadata=Base.metadata,
    revisions=Path(__file__).parent / "migrations",
    personal=PERSONAL,
    start=start,
)
