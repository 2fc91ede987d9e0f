"""One service as a process of its own: API, relay and consumer. `python -m services.orders` comes here.

Copies of a service share its database and its queue, and elect the relay among themselves.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import httpx
from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError

from chassis.entry import run
from chassis.lookups import LOOKUP_TIMEOUT_S
from chassis.metrics import Metrics, serving
from chassis.rabbit import RabbitBus
from chassis.server import Server, say
from chassis.service import Service, build_app, build_runtime
from chassis.settings import Settings, required
from chassis.tokens import signer_from
from chassis.world import shared_world


def main(service: Service) -> int:
    """Run the service until a signal; returns the process's exit code."""
    return run(service.name, partial(serve, service))


@asynccontextmanager
async def _during(app: FastAPI, metrics: Metrics, settings: Settings) -> AsyncIterator[None]:
    async with app.router.lifespan_context(app), serving(metrics, settings.host, settings.metrics_port):
        yield


async def serve(service: Service, settings: Settings) -> bool:
    """Run until a signal; whether it ever answered anything."""
    database_url = required(settings.database_url, "LINLI_DATABASE_URL")
    bus = RabbitBus(required(settings.amqp_url, "LINLI_AMQP_URL"), service.name)
    signer = signer_from(settings.lookup_key, "LINLI_LOOKUP_KEY") if settings.lookup_key else None
    # Members is reached as the deployment says, whatever proxy the environment names for the world outside.
    async with httpx.AsyncClient(
        base_url=settings.service_urls["members"], timeout=LOOKUP_TIMEOUT_S, trust_env=False
    ) as members:
        runtime = build_runtime(
            settings, shared_world(), database_url, members, signer=signer, service_keys=settings.lookup_public_keys
        )
        app = build_app(service, runtime, bus)
        server = Server(
            app,
            settings.host,
            settings.port,
            on_stop=runtime.stopping.set,
            drain_s=settings.drain_s,
            during=_during(app, runtime.metrics, settings),
        )
        try:
            await server.serve()
        except (OSError, SQLAlchemyError) as error:
            if server.started:
                raise
            # In one line: there is nothing to mend in the code.
            cause = str(error).partition("\n")[0]
            say(f"the database does not serve: {type(error).__name__}: {cause}")
    return server.started
