"""`python -m gateway`: the door as a process of its own, before services that each are one, too."""

from __future__ import annotations

import resource
import sys
from contextlib import aclosing
from functools import partial

import httpx
from starlette.types import ASGIApp

from chassis.entry import run
from chassis.lookups import fetch_keys
from chassis.metrics import Metrics, serving
from chassis.server import Server
from chassis.settings import Settings
from chassis.tokens import GATEWAY_CLOCK_SKEW_S, Verifier, signer_from
from chassis.world import World
from gateway.app import build_gateway
from gateway.compose import Names
from gateway.limits import RateLimits
from gateway.routes import load_document
from gateway.upstream import HttpUpstream, Streams, open_session

# A live stream takes two: the client's connection and the service's.
OPEN_FILES_WANTED = 20_000


async def serve(settings: Settings) -> bool:
    """Run until a signal; whether it ever answered anything."""
    signer = signer_from(settings.lookup_key, "LINLI_LOOKUP_KEY")
    world, streams, metrics = World(), Streams(), Metrics()
    async with open_session() as session, aclosing(RateLimits(settings)) as limits:
        upstreams: dict[str, ASGIApp] = {
            name: HttpUpstream(session, url, streams) for name, url in settings.service_urls.items()
        }
        transport = httpx.ASGITransport(upstreams["members"])
        async with httpx.AsyncClient(transport=transport, base_url=settings.service_urls["members"]) as members:
            verifier = Verifier(partial(fetch_keys, members), world.now, GATEWAY_CLOCK_SKEW_S)
            gateway = build_gateway(
                load_document(), upstreams, verifier, Names(members, signer), settings, world, metrics, limits
            )
            server = Server(
                gateway,
                settings.host,
                settings.port,
                on_stop=streams.end,
                drain_s=settings.drain_s,
                during=serving(metrics, settings.host, settings.metrics_port),
            )
            await server.serve()
    return server.started


def allow_open_files() -> None:
    """Take as many as the system gives: a shell's 1,024 would be 500 streams."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES_WANTED if hard == resource.RLIM_INFINITY else min(OPEN_FILES_WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    allow_open_files()
    sys.exit(run("gateway", serve))
