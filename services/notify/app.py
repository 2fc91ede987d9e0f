"""notify, assembled: its routes, its subscriptions, and the work it does by itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from chassis.background import every, running
from chassis.service import Runtime, Service
from chassis.settings import BadSetting
from services.notify.api import deliveries, dev, messages, stream
from services.notify.channels import Channel, SandboxChannel
from services.notify.deliveries import Sender
from services.notify.figures import FIGURES
from services.notify.handlers import HANDLERS
from services.notify.lookups import Lookups
from services.notify.models import Base
from services.notify.parts import Parts
from services.notify.personal import PERSONAL
from services.notify.streams import StreamWatch
from services.notify.wakes import Wakes
from services.notify.wording import Wording

STREAM_WATCH_S = 1.0

log = structlog.get_logger(__name__)


@asynccontextmanager
async def start(runtime: Runtime) -> AsyncIterator[Parts]:
    """Send deliveries and watch streams as long as the process lives."""
    if runtime.signer is None:
        raise BadSetting("LINLI_LOOKUP_KEY is not set: with it notify asks members for contacts")
    parts = Parts(Wording(), Wakes())
    parts.wakes.attach(runtime.db)
    lookups = Lookups(runtime.members, runtime.signer, runtime.world)
    sender = Sender(runtime.db, lookups, channels_for(runtime), parts.wording, parts.wakes)
    watch = StreamWatch(runtime.db, parts.wakes)
    async with running(sender.run(), every(STREAM_WATCH_S, watch.look), _end_streams(runtime, parts)):
        try:
            yield parts
        finally:
            runtime.stopping.set()
            parts.wakes.wake_readers(parts.wakes.people)


def channels_for(runtime: Runtime) -> dict[str, Channel]:
    """The channels of this deployment; production has none until a provider is configured."""
    if runtime.settings.development:
        return {"sms": SandboxChannel(runtime.db)}
    log.warning("no_sms_channel", consequence="no SMS is sent, sign-in codes neither")
    return {}


async def _end_streams(runtime: Runtime, parts: Parts) -> None:
    await runtime.stopping.wait()
    parts.wakes.wake_readers(parts.wakes.people)


SERVICE = Service(
    name="notify",
    title="Messages and live streams",
    apis=[messages.api, deliveries.api, stream.api, dev.api],
    handlers=HANDLERS,
    metadata=Base.metadata,
    revisions=Path(__file__).parent / "migrations",
    personal=PERSONAL,
    start=start,
    figures=FIGURES,
)
