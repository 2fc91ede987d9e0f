"""What a service is made of, and how its parts become a running ASGI application.

    SERVICE = Service(name="orders", apis=[…], handlers=HANDLERS, metadata=Base.metadata,
                      revisions=Path(__file__).parent / "migrations", start=start)

A running service answers requests, relays its outbox, applies what its inbox receives and retries what failed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import structlog
from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from sqlalchemy import MetaData, text
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Lifespan

from chassis import scopes
from chassis.api import Api, require_policies
from chassis.arrivals import Arrivals
from chassis.audit import audit_api
from chassis.background import every, running, wait_at_most
from chassis.bus import Bus, Subscriber
from chassis.cutoffs import Cutoffs, forget_old_cutoffs
from chassis.db import Database, is_down
from chassis.dead_letters import forget_discarded
from chassis.dead_letters_api import dead_letters_api
from chassis.erasure import SWEEP_POLL_S, Erasure
from chassis.errors import Unavailable, answer
from chassis.export import export_api
from chassis.figures import Figure, samples
from chassis.idempotency import forget_old_keys
from chassis.inbox import Handlers, Inbox, forget_old_events
from chassis.limits import RequestLimits
from chassis.lookups import fetch_keys
from chassis.metrics import Metrics
from chassis.outbox import Relay
from chassis.personal import Personal
from chassis.problems import DefectsAnswered, install
from chassis.settings import Settings
from chassis.status_api import status_api
from chassis.telemetry import HEALTH_PATHS, RequestContext
from chassis.tokens import Signer, Verifier
from chassis.world import World
from contracts.event import Event
from contracts.members import AreaChanged, PersonErased

HOUSEKEEPING_S = 3600
DATABASE_RETRY_S = 1.0
# Requests have their spans and figures from chassis.telemetry, at the gateway too; FastAPI's own hold the query string.
FASTAPI_TELEMETRY: TelemetryConfig = {"auto_configure": False, "tracing": False, "metrics": False, "logs": False}

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Service:
    """One service's definition. `revisions` is the folder of its migrations; `start` opens what lives as long as the
    process, the service's background work too, and yields the service's own parts (`app.state.parts`)."""

    name: str
    title: str
    apis: Sequence[Api]
    handlers: Handlers
    metadata: MetaData
    revisions: Path
    personal: Personal
    start: Callable[[Runtime], AbstractAsyncContextManager[Any]]
    figures: Sequence[Figure] = ()

    def all_apis(self) -> Sequence[Api]:
        """Its own routes, and those every service has for operators."""
        return [
            *self.apis,
            audit_api(self.name),
            dead_letters_api(self.name),
            export_api(self.name, self.personal),
            status_api(self.name, self.figures),
        ]

    def all_handlers(self, runtime: Runtime) -> Handlers:
        """Its own subscriptions, and those every service has for the sake of rights, tokens and those who leave."""
        return {
            AreaChanged: scopes.copy_areas,
            **runtime.cutoffs.handlers(),
            **self.erasure(runtime).handlers(),
            **self.handlers,
        }

    def erasure(self, runtime: Runtime) -> Erasure:
        """How it erases people."""
        return Erasure(runtime.db, self.personal, runtime.cutoffs)

    def subscriptions(self) -> frozenset[type[Event]]:
        """The facts it listens to."""
        return frozenset({AreaChanged, PersonErased, *Cutoffs.LISTENS_TO, *self.handlers})


@dataclass
class Runtime:
    """What a running service stands on; reached from routes through `chassis.api` and `chassis.auth`.

    `stopping` is set when the process is asked to stop, before it waits for open answers: streams end on it.
    """

    settings: Settings
    world: World
    db: Database
    verifier: Verifier
    cutoffs: Cutoffs
    arrivals: Arrivals
    members: httpx.AsyncClient
    stopping: asyncio.Event
    metrics: Metrics
    signer: Signer | None = None
    service_keys: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def build_runtime(
    settings: Settings,
    world: World,
    database_url: str,
    members: httpx.AsyncClient,
    *,
    signer: Signer | None = None,
    service_keys: Mapping[str, Mapping[str, Any]] | None = None,
    metrics: Metrics | None = None,
) -> Runtime:
    """The parts of one service that depend on where it runs. `signer` signs its look-ups at members, if any."""
    db = Database(database_url, world)
    verifier = Verifier(partial(fetch_keys, members), world.now)
    return Runtime(
        settings=settings,
        world=world,
        db=db,
        verifier=verifier,
        cutoffs=Cutoffs(db),
        arrivals=Arrivals(db, settings.arrival_wait_s),
        members=members,
        stopping=asyncio.Event(),
        metrics=metrics or Metrics(),
        signer=signer,
        service_keys=dict(service_keys or {}),
    )


def build_app(service: Service, runtime: Runtime, bus: Bus) -> FastAPI:
    """The running service as an ASGI application. It listens from now on; it serves and relays during its lifespan.

    Build every application of a process before starting one: what is published before somebody listens is not kept.
    """
    inbox = Inbox(runtime.db, service.all_handlers(runtime))
    routing_keys = frozenset(kind.routing_key() for kind in service.subscriptions())
    bus.subscribe(Subscriber(service.name, routing_keys, inbox.receive, inbox.bury))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await _until_database_serves(runtime)
        try:
            async with service.start(runtime) as parts:
                app.state.parts = parts
                async with (
                    bus.running(),
                    running(
                        runtime.db.pulse.run(),
                        Relay(runtime.db, bus).run(),
                        inbox.run_retries(),
                        runtime.cutoffs.run(),
                        every(HOUSEKEEPING_S, lambda: _keep_house(runtime)),
                        every(SWEEP_POLL_S, service.erasure(runtime).sweep_due),
                    ),
                ):
                    yield
        finally:
            await runtime.db.close()

    app = describe(service, lifespan)
    app.state.runtime, app.state.bus = runtime, bus
    app.add_middleware(RequestLimits)
    app.add_middleware(DefectsAnswered)
    metrics = runtime.metrics
    metrics.add(service.name, partial(samples, runtime.db, inbox, bus, service.figures))
    app.add_middleware(RequestContext, world=runtime.world, part=service.name, requests=metrics.requests)
    return app


def describe(service: Service, lifespan: Lifespan[FastAPI] | None = None) -> FastAPI:
    """The service's routes as an application; raises RouteWithoutPolicy when one does not say who may call it."""
    app = FastAPI(
        title=service.title,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        telemetry=FASTAPI_TELEMETRY,
    )
    for api in service.all_apis():
        # Not by `include_router`, which looks for each request's route twice, in the routers before its own as well.
        app.router.routes.extend(api.router.routes)
    app.add_route("/healthz", _alive)
    app.add_route("/readyz", _ready)
    require_policies(app, except_paths=HEALTH_PATHS)
    install(app)
    return app


async def _until_database_serves(runtime: Runtime) -> None:
    """Return once cutoffs and time are known; raise when the database refuses us, or is away for too long."""
    deadline = time.monotonic() + runtime.settings.database_wait_s
    while True:
        try:
            await runtime.cutoffs.refresh()
            return await runtime.db.pulse.beat()
        except Exception as error:
            if not is_down(error) or time.monotonic() >= deadline or runtime.stopping.is_set():
                raise
            log.warning("database_awaited", cause=type(error).__name__)
        await wait_at_most(runtime.stopping, DATABASE_RETRY_S)


async def _alive(request: Request) -> Response:
    """Alive unless only a new start helps: a queue that nobody empties, say, while the broker is there."""
    trouble = request.app.state.bus.trouble()
    if trouble is not None:
        log.error("not_alive", cause=trouble)
        return answer(Unavailable())
    return JSONResponse({"status": "alive"})


async def _ready(request: Request) -> Response:
    db: Database = request.app.state.runtime.db
    try:
        async with db.transaction() as session:
            await session.execute(text("SELECT 1"))
    except Exception:
        return answer(Unavailable())
    return JSONResponse({"status": "ready"})


async def _keep_house(runtime: Runtime) -> None:
    now = runtime.world.now()
    async with runtime.db.transaction() as session:
        await forget_old_events(session, now)
        await forget_old_keys(session, now)
        await forget_old_cutoffs(session, now)
        await forget_discarded(session, now)
