"""One service under test: its application and database, a bus that records, a clock that the test sets.

async with run_service(SERVICE, databases) as orders:
    await orders.receive(ProductPublished(...), sequence=1)          # events in
    answer = await orders.post("/products/…/claims", person=ann, json={…})  # requests in
    assert orders.emitted(ClaimAccepted)                              # events out
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID, uuid4

import httpx
from fastapi import FastAPI
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from chassis import migrations
from chassis.bus import InProcessBus, Letter
from chassis.db import Database
from chassis.inbox import Inbox
from chassis.outbox import Relay
from chassis.service import Runtime, Service, build_app, build_runtime
from chassis.settings import SERVICE_NAMES, Settings
from chassis.tokens import Grant, Signer, generate_key
from chassis.world import World
from contracts.event import Envelope, Event, parse
from contracts.members import AreaChanged

E = TypeVar("E", bound=Event)

# Long enough for what a test delivers meanwhile, short where nothing comes.
ARRIVAL_WAIT_S = 0.6


class Clock:
    """A clock that stands still until the test moves it."""

    def __init__(self, start: datetime = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)) -> None:
        self.time = start

    def __call__(self) -> datetime:
        return self.time

    def advance(self, **duration: float) -> None:
        self.time += timedelta(**duration)


class RecordingBus(InProcessBus):
    """Confirms every letter and keeps it for the test to look at; hands nothing over."""

    def __init__(self) -> None:
        super().__init__()
        self.letters: list[Letter] = []

    async def publish(self, letters: Sequence[Letter]) -> list[Exception | None]:
        self.letters.extend(letters)
        return [None] * len(letters)


class Databases:
    """Makes databases on one server and drops them at the end."""

    def __init__(self, server_url: str) -> None:
        self.server_url = server_url
        self._run = f"lt{uuid4().hex[:8]}"
        self._templates: dict[str, migrations.DatabaseUrls] = {}
        self._made: list[str] = []
        self._roles: list[str] = []

    async def template(self, service: Service) -> migrations.DatabaseUrls:
        """The service's migrated database, made once a run."""
        if service.name not in self._templates:
            name = f"{self._run}_{service.name}"
            urls = await migrations.provision(self.server_url, name)
            self._made.append(name)
            self._roles += [f"{name}_migrator", f"{name}_app"]
            await migrations.upgrade(urls, service.metadata, service.revisions)
            self._templates[service.name] = urls
        return self._templates[service.name]

    async def fresh(self, service: Service) -> str:
        """URL (application role) of a new copy of the service's database."""
        urls = await self.template(service)
        template = make_url(urls.application)
        name = f"{template.database}_{len(self._made)}"
        await self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{template.database}"')
        self._made.append(name)
        return template.set(database=name).render_as_string(hide_password=False)

    async def empty(self, name: str) -> migrations.DatabaseUrls:
        """URLs of a new database with its two roles and no table yet."""
        name = f"{self._run}_{name}_{len(self._made)}"
        self._made.append(name)
        self._roles += [f"{name}_migrator", f"{name}_app"]
        return await migrations.provision(self.server_url, name)

    def prefix(self, name: str) -> str:
        """What the names of databases begin with that `standalone.build_stack` makes, one for each service."""
        prefix = f"{self._run}_{name}_{len(self._made)}"
        for database in (f"{prefix}_{service}" for service in SERVICE_NAMES):
            self._made.append(database)
            self._roles += [f"{database}_migrator", f"{database}_app"]
        return prefix

    async def _execute(self, *statements: str) -> None:
        engine = create_async_engine(self.server_url, isolation_level="AUTOCOMMIT")
        try:
            async with engine.connect() as connection:
                for statement in statements:
                    await connection.execute(text(statement))
        finally:
            await engine.dispose()

    def drop_all(self) -> None:
        """Remove every database and role of this run."""
        drops = [f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)' for name in reversed(self._made)]
        drops += [f'DROP ROLE IF EXISTS "{role}"' for role in self._roles]
        asyncio.run(self._execute(*drops))


@dataclass(frozen=True)
class Person:
    """Somebody with a token."""

    id: UUID = field(default_factory=uuid4)
    grants: tuple[Grant, ...] = ()


def operator() -> Person:
    """A person who may do everything an operator may, everywhere."""
    return Person(grants=(Grant(role="operator"),))


def coordinator(area_id: UUID) -> Person:
    """A coordinator of one area's subtree."""
    return Person(grants=(Grant(role="coordinator", area_id=area_id),))


@dataclass
class ServiceUnderTest:
    """A running service, seen from outside."""

    app: FastAPI
    runtime: Runtime
    db: Database
    inbox: Inbox
    bus: RecordingBus
    clock: Clock
    client: httpx.AsyncClient
    signer: Signer
    relay: Relay

    def token(self, person: Person) -> str:
        return self.signer.access_token(person.id, person.id, person.grants, self.clock())

    async def request(
        self, method: str, path: str, *, person: Person | None = None, key: str | None = None, **options: Any
    ) -> httpx.Response:
        """Call `/api/v1` + path; `key` is the Idempotency-Key, a new one where none is given."""
        headers = dict(options.pop("headers", {}))
        if person is not None:
            headers["Authorization"] = f"Bearer {self.token(person)}"
        if method == "POST":
            headers.setdefault("Idempotency-Key", key or uuid4().hex)
        prefix = "" if path.startswith("/internal") else "/api/v1"
        return await self.client.request(method, prefix + path, headers=headers, **options)

    async def get(self, path: str, **options: Any) -> httpx.Response:
        return await self.request("GET", path, **options)

    async def post(self, path: str, **options: Any) -> httpx.Response:
        return await self.request("POST", path, **options)

    async def patch(self, path: str, **options: Any) -> httpx.Response:
        return await self.request("PATCH", path, **options)

    async def delete(self, path: str, **options: Any) -> httpx.Response:
        return await self.request("DELETE", path, **options)

    async def receive(self, *facts: Event, sequence: int = 1) -> list[Envelope[Event]]:
        """Deliver facts, each in an envelope of its own; returns the envelopes, for a test to deliver again."""
        envelopes: list[Envelope[Event]] = [Envelope(uuid4(), fact, sequence, self.clock()) for fact in facts]
        await self.deliver(*envelopes)
        return envelopes

    async def deliver(self, *envelopes: Envelope[Event]) -> None:
        """Deliver envelopes as the bus would."""
        await self.inbox.receive([envelope.to_json() for envelope in envelopes])

    async def add_area(self, area_id: UUID | None = None, parents: Sequence[UUID] = ()) -> UUID:
        """Tell the service of an area; returns its id."""
        area_id = area_id or uuid4()
        await self.receive(
            AreaChanged(
                area_id=area_id,
                parent_id=parents[-1] if parents else None,
                path=[*parents, area_id],
                level="community",
                name="玉林北路社区",
                name_en=None,
                timezone="Asia/Shanghai",
                active=True,
            )
        )
        return area_id

    async def envelopes(self, kind: type[E]) -> list[Envelope[E]]:
        """The envelopes of one type that the service has emitted so far, in order."""
        async with self.db.engine.connect() as connection:
            plain = await connection.execution_options(isolation_level="AUTOCOMMIT")
            while await self.relay.send_batch(plain):
                pass
        letters = [letter for letter in self.bus.letters if letter.routing_key == kind.routing_key()]
        return [parse(letter.document) for letter in letters]  # type: ignore[misc]

    async def emitted(self, kind: type[E]) -> list[E]:
        """The facts of one type that the service has emitted so far, in order."""
        return [envelope.data for envelope in await self.envelopes(kind)]


@asynccontextmanager
async def run_service(
    service: Service,
    databases: Databases,
    *,
    members: httpx.MockTransport | None = None,
    settings: Settings | None = None,
    world: World | None = None,
    database_url: str | None = None,
    service_keys: dict[str, Any] | None = None,
) -> AsyncIterator[ServiceUnderTest]:
    """Run a service on a fresh database. `members` answers its look-ups; without one only the public keys are served.

    The relay does not run by itself: `emitted` sends what is in the outbox. Give `database_url` for a second copy.
    """
    clock = Clock()
    world = world or World(now=clock, random=random.Random(1))
    signer = Signer(generate_key())

    def serve_keys(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/api/v1/.well-known/jwks.json":
            return httpx.Response(200, json=signer.public_keys())
        return members.handler(request) if members else httpx.Response(404)  # type: ignore[return-value]

    lookup = httpx.AsyncClient(transport=httpx.MockTransport(serve_keys), base_url="http://members")
    runtime = build_runtime(
        settings or Settings(environment="development", arrival_wait_s=ARRIVAL_WAIT_S),
        world,
        database_url or await databases.fresh(service),
        lookup,
        signer=Signer(generate_key()),
        service_keys=service_keys,
    )
    bus = RecordingBus()
    app = build_app(service, runtime, bus)
    inbox = Inbox(runtime.db, service.all_handlers(runtime))
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://test")
    try:
        async with client, lookup, service.start(runtime) as parts:
            app.state.parts = parts
            yield ServiceUnderTest(app, runtime, runtime.db, inbox, bus, clock, client, signer, Relay(runtime.db, bus))
    finally:
        await runtime.db.close()
