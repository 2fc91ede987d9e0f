"""One copy of one service: it answers requests, relays, is handed letters, does its chores, dies and starts again."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Any, TypeVar

import httpx
from fastapi import FastAPI

from chassis.arrivals import Arrivals
from chassis.bus import Bus
from chassis.cutoffs import Cutoffs
from chassis.db import Database
from chassis.inbox import Inbox
from chassis.lookups import fetch_keys
from chassis.metrics import Metrics
from chassis.outbox import Relay
from chassis.service import Runtime, Service, build_app
from chassis.settings import Settings
from chassis.tokens import Signer, Verifier
from tests.simulation.parts import Build, Chores, open_parts
from tests.simulation.world import Crash, OwnWorld

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """What all processes of an installation have in common."""

    settings: Settings
    bus: Bus
    members: httpx.AsyncClient
    signer: Signer
    build: Build


class Process:
    """Started with `start`; after a crash it starts again, on the same database and with an empty memory."""

    app: FastAPI
    runtime: Runtime
    inbox: Inbox
    chores: Chores

    def __init__(self, service: Service, number: int, world: OwnWorld, db: Database, around: Surroundings) -> None:
        handlers = {**service.handlers, **around.build.handlers.get(service.name, {})}
        self.service = dataclasses.replace(service, handlers=handlers)
        self.name = f"{service.name}/{number}"
        self.world = world
        # At which failpoints it has died so far.
        self.deaths: list[str] = []
        self._db = db
        self._around = around
        self._stack = AsyncExitStack()
        self._client: httpx.AsyncClient

    async def start(self) -> None:
        around = self._around
        self.world.begin()
        self.runtime = Runtime(
            settings=around.settings,
            world=self.world.world,
            db=self._db,
            verifier=Verifier(partial(fetch_keys, around.members), self.world.world.now),
            cutoffs=Cutoffs(self._db),
            arrivals=Arrivals(self._db, around.settings.arrival_wait_s),
            members=around.members,
            stopping=asyncio.Event(),
            metrics=Metrics(),
            signer=around.signer,
            service_keys={"notify": around.signer.public_keys()},
        )
        self.app = build_app(self.service, self.runtime, around.bus)
        self.inbox = around.build.inbox(self.runtime.db, self.service.all_handlers(self.runtime))
        self._stack = AsyncExitStack()
        self.app.state.parts, self.chores = await open_parts(self._stack, self.service.name, self.runtime, around.build)
        self.chores |= {
            "retry": self.inbox.retry_due,
            "cutoffs": self.runtime.cutoffs.refresh,
            "erase": self.service.erasure(self.runtime).sweep_due,
        }
        await self.runtime.cutoffs.refresh()
        self._client = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app, raise_app_exceptions=False), base_url="http://simulated"
        )

    async def stop(self) -> None:
        """End it; a dead one's batches raise the crash they died of."""
        with suppress(Crash):
            await self._stack.aclose()
        await self._client.aclose()

    async def do(self, work: Awaitable[T]) -> T | None:
        """The work's result; None when the process died on it, and has been started again since."""
        task = asyncio.ensure_future(work)
        death = asyncio.ensure_future(self.world.fate.died.wait())
        await asyncio.wait({task, death}, return_when=asyncio.FIRST_COMPLETED)
        if not self.world.fate.died.is_set():
            death.cancel()
            self.world.fate.hits_left = None
            return await task
        self.deaths.append(str(self.world.fate.at))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await self.stop()
        await self.start()
        return None

    async def request(self, method: str, path: str, headers: dict[str, str], body: Any) -> httpx.Response:
        return await self._client.request(method, "/api/v1" + path, headers=headers, json=body)

    async def relay(self) -> int:
        """Send one batch, as the elected relay would."""
        relay: Relay = self._around.build.relay(self.runtime.db, self._around.bus)
        async with self.runtime.db.engine.connect() as plain:
            return await relay.send_batch(await plain.execution_options(isolation_level="AUTOCOMMIT"))

    async def receive(self, documents: Sequence[str]) -> bool:
        """True when the letters may be forgotten: each had its effect, or is parked."""
        await self.inbox.receive(documents)
        return True
