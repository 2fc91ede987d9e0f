"""What is measured on: a PostgreSQL that loses nothing, a broker, the services' databases and their topology.

Parts are started by each measurement as it needs them. Who comes up in it is `person(1)`, `person(2)`, …: ids that SQL
can make as well, `md5('person1')::uuid`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import aio_pika
import asyncpg
from sqlalchemy import make_url

from bench.parts import Part, running
from chassis import embedded_postgres, migrations
from chassis.service import Service
from chassis.settings import SERVICE_NAMES
from chassis.tokens import Signer, generate_key
from chassis.topology import Topology, declare, topology_of
from deploy.services import SERVICES
from services.members.keys import generate_keys
from tests.broker import start_broker

# Nobody is there: a part that is given this as its broker goes on without.
NOWHERE = "amqp://nobody:nobody@127.0.0.1:9/"
NO_LIMIT = "1000000/second"


def known_id(name: str) -> UUID:
    """The id that `md5(name)::uuid` is in SQL."""
    return UUID(hashlib.md5(name.encode(), usedforsecurity=False).hexdigest())


def person(number: int) -> UUID:
    return known_id(f"person{number}")


@dataclass
class Stage:
    """Servers, databases (`urls`, of the application role) and keys of one run."""

    folder: Path
    server: embedded_postgres.EmbeddedPostgres
    amqp_url: str
    urls: dict[str, str] = field(default_factory=dict)
    members_keys: dict[str, str] = field(default_factory=generate_keys)
    lookup_key: str = field(default_factory=generate_key)
    _people: int = 1_000_000

    async def make_databases(self) -> None:
        for service in SERVICES:
            await self._make_database(service)

    async def _make_database(self, service: Service) -> None:
        urls = await migrations.provision(self.server.url(), service.name)
        await migrations.upgrade(urls, service.metadata, service.revisions)
        self.urls[service.name] = urls.application
        # The area in which everything happens, with three above it.
        async with self.connected(service.name) as database:
            await database.execute(
                "INSERT INTO scopes (id, path, timezone, sequence) VALUES ($1, $2, 'Asia/Shanghai', 1)",
                known_id("area"),
                [*(known_id(f"level{level}") for level in range(3)), known_id("area")],
            )

    async def begin_anew(self, names: Collection[str] = SERVICE_NAMES) -> None:
        """The queues of these services and no others, empty, and nothing left to send from before."""
        for name in self.urls:
            async with self.connected(name) as database:
                await database.execute("TRUNCATE outbox")
        connection = await aio_pika.connect(self.amqp_url)
        async with connection, connection.channel() as channel:
            await Topology(dict.fromkeys(SERVICE_NAMES, frozenset())).delete(channel)
        await declare(self.amqp_url, topology_of(service for service in SERVICES if service.name in names))

    def signer(self) -> Signer:
        return Signer(self.members_keys["token_key"])

    def tokens(self, people: Collection[int]) -> list[str]:
        """A fresh access token for each of these people."""
        signer, now = self.signer(), datetime.now(UTC)
        return [signer.access_token(person(number), person(number), (), now) for number in people]

    def fresh_tokens(self, count: int) -> list[str]:
        """Tokens of so many people who come for the first time."""
        first = self._people + 1
        self._people += count
        return self.tokens(range(first, first + count))

    @asynccontextmanager
    async def connected(self, service: str) -> AsyncIterator[asyncpg.Connection[Any]]:
        """A superuser's connection to a service's database, to fill it and to count."""
        connection = await asyncpg.connect(self.superuser_url(service).replace("+asyncpg", ""))
        try:
            yield connection
        finally:
            await connection.close()

    @staticmethod
    async def pause(seconds: float) -> None:
        """Between two looks."""
        await asyncio.sleep(seconds)

    def superuser_url(self, service: str) -> str:
        """The server's own user: pgbench is not held to a role's rights or time-outs."""
        return self.server.url(str(make_url(self.urls[service]).database))

    @contextmanager
    def service(self, name: str, *, members_url: str = "http://127.0.0.1:9", bus: bool = True) -> Iterator[Part]:
        """One service in a process of its own; without `bus` it relays and consumes nothing."""
        environment = {
            **self._common(),
            "LINLI_DATABASE_URL": self.urls[name],
            "LINLI_AMQP_URL": self.amqp_url if bus else NOWHERE,
            "LINLI_SERVICE_URLS": json.dumps({"members": members_url}),
        }
        if name == "members":
            environment |= {f"LINLI_{key.upper()}": value for key, value in self.members_keys.items()}
            public_keys = dict.fromkeys(("gateway", "notify"), Signer(self.lookup_key).public_keys())
            environment["LINLI_LOOKUP_PUBLIC_KEYS"] = json.dumps(public_keys)
        elif name == "notify":
            environment["LINLI_LOOKUP_KEY"] = self.lookup_key
        with running(["-m", f"services.{name}"], environment, self.folder / f"{name}.log") as part:
            yield part

    @contextmanager
    def gateway(self, service_urls: Mapping[str, str]) -> Iterator[Part]:
        """The gateway before these services."""
        environment = {
            **self._common(),
            "LINLI_LOOKUP_KEY": self.lookup_key,
            "LINLI_SERVICE_URLS": json.dumps(dict(service_urls)),
            "LINLI_REQUEST_LIMIT": NO_LIMIT,
        }
        with running(["-m", "gateway"], environment, self.folder / "gateway.log") as part:
            yield part

    @contextmanager
    def services(self, *names: str, bus: bool = True) -> Iterator[dict[str, Part]]:
        """These services, by name; where members is among them it comes first, and is known to the others."""
        with ExitStack() as stack:
            found: dict[str, Part] = {}
            for name in names:
                known = {"members_url": found["members"].url} if "members" in found else {}
                found[name] = stack.enter_context(self.service(name, bus=bus, **known))
            yield found

    @contextmanager
    def parts(self, *names: str, bus: bool = True) -> Iterator[dict[str, Part]]:
        """Members, these services and the gateway before them, by name."""
        with self.services("members", *names, bus=bus) as found:
            urls = {name: part.url for name, part in found.items()}
            with self.gateway(urls) as found["gateway"]:
                yield found

    @staticmethod
    def _common() -> dict[str, str]:
        return {"LINLI_PORT": "0", "LINLI_ENVIRONMENT": "production"}


@contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """Servers that are gone, with all that is in them, when the block ends."""
    amqp_url = os.environ.get("AMQP_URL") or start_broker()
    with embedded_postgres.start(folder / "postgres", max_connections=300) as server:
        yield Stage(folder, server, amqp_url)
