"""The set-up of an installation before its services start: databases, roles, revisions and rights, and the bus.

    python -m deploy.setup [SERVICE …]     with names, of the databases only theirs; the bus is one for all

Run again, it brings what a new release changes and leaves the rest alone. Its own secrets, those of a database's and
a broker's administrator, go to no service.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from aio_pika.exceptions import AMQPConnectionError, AMQPError
from sqlalchemy import URL, make_url, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

from chassis import migrations
from chassis.db import is_down
from chassis.server import say
from chassis.service import Service
from chassis.settings import SECRETS_DIR, SERVICE_NAMES, BadSetting, Settings
from chassis.topology import TopologyDiffers, declare, topology_of
from deploy.broker import left_over, management
from deploy.services import SERVICES

WAIT_S = 60.0
RETRY_S = 0.5
SUPERUSER = "postgres"


class NotReady(Exception):
    """What has to be there before anything can be set up did not answer in time."""


async def set_up(names: Collection[str], secret: Callable[[str], str]) -> None:
    """Everything, in the order in which services need it. `secret` reads one by its name."""
    superuser_password = secret("postgres_password")
    for service in SERVICES:
        if not names or service.name in names:
            await set_up_database(service, make_url(secret(f"{service.name}_database_url")), superuser_password)
    await set_up_broker(secret("admin_amqp_url"), json.loads(secret("rabbitmq_definitions")))


async def set_up_database(service: Service, url: URL, superuser_password: str) -> None:
    """The database to which `url`, the service's own, leads, at the newest revision."""
    admin = superuser(url, superuser_password)
    await until_ready(f"the database at {url.host}", lambda: _close_to_services(admin), is_down)
    admin_url = admin.render_as_string(hide_password=False)
    urls = await migrations.provision(admin_url, str(url.database), url.password)
    await migrations.upgrade(urls, service.metadata, service.revisions)
    say(f"database {url.database} is at the newest revision")


def superuser(url: URL, password: str) -> URL:
    """The superuser's way to the server of a service's database."""
    return url.set(username=SUPERUSER, password=password, database=SUPERUSER)


async def _close_to_services(admin: URL) -> None:
    """A service has business in its own database only; PostgreSQL lets everybody into these."""
    engine = create_async_engine(admin, hide_parameters=True)
    try:
        async with engine.begin() as connection:
            await connection.execute(text("REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC"))
    finally:
        await engine.dispose()


async def set_up_broker(admin_url: str, definitions: object) -> None:
    """The users of this release with their rights, which the broker by itself reads at its start only; the topology."""
    admin = urlsplit(admin_url)
    api = management(admin)

    async def import_definitions() -> None:
        (await api.post("/definitions", json=definitions)).raise_for_status()

    def is_early(error: Exception) -> bool:
        # The page answers a moment before the broker has read its definitions, and lets clients in.
        return isinstance(error, httpx.HTTPError | AMQPConnectionError)

    topology = topology_of(SERVICES)
    async with api:
        await until_ready(f"the broker at {admin.hostname}", import_definitions, is_early)
        say("the broker has its users")
        await until_ready(f"the broker at {admin.hostname}", partial(declare, admin_url, topology), is_early)
        say("exchange and queues are declared")
        bindings = (await api.get("/bindings")).raise_for_status().json()
    for binding in left_over(bindings, topology):
        # Not for us to remove: copies of the release that made it may still be running.
        say(f"still bound, and of no use to this release: {binding}")


async def until_ready(
    what: str, ask: Callable[[], Awaitable[None]], is_early: Callable[[Exception], bool], wait_s: float = WAIT_S
) -> None:
    """Ask until it answers; NotReady with the last error after `wait_s`, at once any error that is not an early one."""
    deadline = time.monotonic() + wait_s
    told = False
    while True:
        try:
            return await ask()
        except Exception as error:
            if not is_early(error):
                raise
            if time.monotonic() > deadline:
                raise NotReady(f"{what} was not ready within {wait_s:g} s: {reason(error)}") from error
        if not told:
            say(f"waiting for {what} …")
            told = True
        await asyncio.sleep(RETRY_S)


def reason(error: Exception) -> str:
    """What went wrong; of a database's error its own words only: SQLAlchemy quotes the statement, passwords and all."""
    return str(getattr(error, "orig", None) or error) or repr(error)


def main() -> int:
    """Set up; returns the process's exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.setup", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("services", nargs="*", metavar="SERVICE", help=", ".join(SERVICE_NAMES))
    names = parser.parse_args().services
    if unknown := set(names) - set(SERVICE_NAMES):
        parser.error(f"no such service: {', '.join(sorted(unknown))}")
    folder = Path(os.environ.get(SECRETS_DIR, "/run/secrets"))

    def secret(name: str) -> str:
        return (folder / name).read_text(encoding="utf-8").strip()

    try:
        # What no service could run with is not set up either: settings of another environment than the data, say.
        settings = Settings.read()
        say(f"setting up for {settings.environment}")
        asyncio.run(set_up(names, secret))
    except (BadSetting, NotReady, TopologyDiffers, SQLAlchemyError, AMQPError, httpx.HTTPError, OSError) as error:
        say(f"cannot set up: {reason(error)}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
