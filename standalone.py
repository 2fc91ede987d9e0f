"""Linli in one process: every service, an embedded PostgreSQL, a bus in memory, the gateway in front.

The same services, tables, outboxes and inboxes as when each runs by itself; the one module in which they all meet, and
so the map: which parts there are, and how they are put together.

    LINLI_DATA      where the data is kept (./data)          PORT          where the gateway listens (8000)
    DATABASE_URL    a PostgreSQL server to use instead of the embedded one (a superuser's URL)
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import uvloop
from fastapi import FastAPI
from pydantic import SecretStr, ValidationError
from starlette.types import ASGIApp, Receive, Scope, Send

from chassis import embedded_postgres, migrations
from chassis.background import running
from chassis.bus import Bus, InProcessBus
from chassis.embedded_postgres import EmbeddedPostgres
from chassis.metrics import Metrics, serving
from chassis.server import Server, say
from chassis.service import Runtime, Service, build_app, build_runtime
from chassis.settings import Settings
from chassis.telemetry import configure_logging
from chassis.tokens import Signer, generate_key
from chassis.tracing import configure_tracing
from chassis.world import World, shared_world
from deploy.secrets import LOOKS_UP
from deploy.services import SERVICES
from gateway.app import build_gateway
from gateway.compose import Names
from gateway.routes import load_document
from services.members.keys import DEVELOPMENT_OPERATOR_PASSWORD, generate_keys

DATABASE_WATCH_S = 0.5


@dataclass
class Stack:
    """All parts, built and not yet started."""

    gateway: ASGIApp
    apps: Mapping[str, FastAPI]
    runtimes: Mapping[str, Runtime]
    metrics: Metrics

    @asynccontextmanager
    async def running(self, settings: Settings) -> AsyncIterator[None]:
        """Start the services and tell their figures; stop them when the block ends."""
        async with AsyncExitStack() as stack:
            for app in self.apps.values():
                await stack.enter_async_context(app.router.lifespan_context(app))
            await stack.enter_async_context(serving(self.metrics, settings.host, settings.metrics_port))
            yield

    def stop_streams(self) -> None:
        """Tell what never ends by itself that the process is about to stop."""
        for runtime in self.runtimes.values():
            runtime.stopping.set()


async def build_stack(
    settings: Settings,
    server_url: str,
    lookup_keys: Mapping[str, str],
    *,
    world: World | None = None,
    bus: Bus | None = None,
    database_prefix: str = "linli",
) -> Stack:
    """Bring every database to the current schema and build every part. `lookup_keys`: PEM by name in `LOOKS_UP`."""
    world, metrics = world or shared_world(), Metrics()
    bus = bus or InProcessBus()
    signers = {name: Signer(lookup_keys[name]) for name in LOOKS_UP}
    public_keys = {name: signer.public_keys() for name, signer in signers.items()}
    apps: dict[str, FastAPI] = {}

    async def members_app(scope: Scope, receive: Receive, send: Send) -> None:
        await apps["members"](scope, receive, send)

    members = httpx.AsyncClient(transport=httpx.ASGITransport(members_app), base_url="http://members")
    runtimes: dict[str, Runtime] = {}
    for service in SERVICES:
        url = await _database(server_url, f"{database_prefix}_{service.name}", service)
        runtimes[service.name] = build_runtime(
            settings,
            world,
            url,
            members,
            signer=signers.get(service.name),
            service_keys=public_keys,
            metrics=metrics,
        )
        apps[service.name] = build_app(service, runtimes[service.name], bus)
    names = Names(members, signers["gateway"])
    gateway = build_gateway(load_document(), apps, runtimes["members"].verifier, names, settings, world, metrics)
    return Stack(gateway, apps, runtimes, metrics)


async def _database(server_url: str, name: str, service: Service) -> str:
    urls = await migrations.provision(server_url, name)
    await migrations.upgrade(urls, service.metadata, service.revisions)
    return urls.application


async def serve(
    settings: Settings, server_url: str, lookup_keys: Mapping[str, str], database: EmbeddedPostgres | None = None
) -> None:
    """Run until a signal, or until the embedded database ends."""
    stack = await build_stack(settings, server_url, lookup_keys)
    during = stack.running(settings)
    server = Server(stack.gateway, settings.host, settings.port, on_stop=stack.stop_streams, during=during)
    async with running(*[_end_with(database, server)] if database else []):
        await server.serve()
    say("stopped")


async def _end_with(database: EmbeddedPostgres, server: Server) -> None:
    """Stop when the database has ended: a new start brings both to a known state, and whoever supervises us sees it."""
    while True:
        await asyncio.sleep(DATABASE_WATCH_S)
        if not database.is_running():
            say(f"the database has ended by itself; nothing is lost: start again ({database.data_dir}/postgres.log)")
            return server.stop()


def load_secrets(data: Path, environment: str) -> dict[str, str]:
    """The installation's keys, made at the first start and kept in `secrets.json`, readable by its owner only.

    ValueError for data of another environment: in data of development, the operator's password is known to all.
    """
    path = data / "secrets.json"
    if path.exists():
        kept: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
        if kept.get("environment") != environment:
            raise ValueError(f"the data in {data} is of {kept.get('environment')}, not of {environment} mode")
        return kept
    fresh = {"environment": environment, **generate_keys()}
    fresh |= {f"lookup_{name}": generate_key() for name in LOOKS_UP}
    partial = path.with_suffix(".partial")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(fresh, file, indent=2)
    partial.replace(path)
    return fresh


def settings_for(kept: Mapping[str, str]) -> Settings:
    """The environment's settings, completed by what this installation keeps."""
    given = Settings.read({"environment": kept["environment"]})
    completed: dict[str, object] = {
        name: SecretStr(kept[name])
        for name in ("contact_key", "phone_index_key", "token_key")
        if getattr(given, name) is None
    }
    if given.operator_password is None and given.development:
        completed["operator_password"] = SecretStr(DEVELOPMENT_OPERATOR_PASSWORD)
    if "PORT" in os.environ:
        completed["port"] = os.environ["PORT"]
    if "LINLI_LOG_FORMAT" not in os.environ:
        completed["log_format"] = "text"
    return Settings.read({**given.model_dump(), **completed})


def main() -> int:
    """Start everything; returns the process's exit code."""
    data = Path(os.environ.get("LINLI_DATA", "data")).absolute()
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        kept = load_secrets(data, os.environ.get("LINLI_ENVIRONMENT", "development"))
        settings = settings_for(kept)
        lookup_keys = {name: kept[f"lookup_{name}"] for name in LOOKS_UP}
    except (ValidationError, ValueError, KeyError) as error:
        say(f"cannot start: {error}")
        return 2
    configure_logging(settings.log_format)
    configure_tracing("linli")
    given = os.environ.get("DATABASE_URL")
    if given:
        uvloop.run(serve(settings, given.replace("postgresql://", "postgresql+asyncpg://", 1), lookup_keys))
        return 0
    try:
        server = embedded_postgres.start(data / "postgres", say=say)
    except embedded_postgres.DataDirectoryInUse as error:
        say(str(error))
        return 1
    try:
        uvloop.run(serve(settings, server.url(), lookup_keys, server))
        return 0 if server.is_running() else 1
    finally:
        server.stop()


if __name__ == "__main__":
    sys.exit(main())
