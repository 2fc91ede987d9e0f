"""Members, put together: its routes, its tables, and what lives as long as the process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from chassis.background import every, running
from chassis.service import Runtime, Service
from services.members import sign_in_models  # noqa: F401 - declares its tables
from services.members.api import areas, centres, internal, me, organisations, privacy, sign_in, staff
from services.members.handlers import HANDLERS
from services.members.housekeeping import HOUSEKEEPING_S, forget_old_sign_in_data
from services.members.models import Base
from services.members.parts import Parts, build_parts
from services.members.personal import PERSONAL
from services.members.resealing import reseal_contacts
from services.members.staff import ensure_operator


@asynccontextmanager
async def start(runtime: Runtime) -> AsyncIterator[Parts]:
    """Build the parts, see that there is an operator, and clean up at intervals."""
    settings = runtime.settings
    parts = build_parts(settings, runtime.world)
    if settings.operator_password is not None:
        password = settings.operator_password.get_secret_value()
        await ensure_operator(runtime.db, parts.passwords, settings.operator_username, password)

    async def keep_house() -> None:
        async with runtime.db.transaction() as session:
            await forget_old_sign_in_data(session, runtime.world.now())

    async with running(
        every(HOUSEKEEPING_S, keep_house),
        every(HOUSEKEEPING_S, lambda: reseal_contacts(runtime.db, parts.vault)),
    ):
        yield parts


SERVICE = Service(
    name="members",
    title="Linli members",
    apis=[sign_in.api, me.api, privacy.api, areas.api, organisations.api, centres.api, staff.api, internal.api],
    handlers=HANDLERS,
    metadata=Base.metadata,
    revisions=Path(__file__).parent / "migrations",
    personal=PERSONAL,
    start=start,
)
