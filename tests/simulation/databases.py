"""The simulated installation's databases, put back before each schedule to what they held when it was furnished."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import asyncpg
from sqlalchemy import make_url

from chassis.db import Database
from chassis.service import Service
from deploy.services import SERVICES
from tests.harness import Databases
from tests.simulation.world import Clock, OwnWorld

KEPT = "furnished"


class Shelf:
    """One database a service, and a superuser's look into each."""

    def __init__(self, server_url: str, urls: dict[str, str]) -> None:
        self._server_url = server_url
        self.clock = Clock()
        self._urls = urls
        self._looks: dict[str, Any] = {}
        self._pools: dict[str, tuple[OwnWorld, Database]] = {}

    @classmethod
    async def make(cls, server_url: str, databases: Databases) -> Shelf:
        shelf = cls(server_url, {service.name: await databases.fresh(service) for service in SERVICES})
        for name, url in shelf._urls.items():
            database = make_url(server_url).set(drivername="postgresql", database=make_url(url).database)
            shelf._looks[name] = await asyncpg.connect(database.render_as_string(hide_password=False))
        return shelf

    def pool(self, service: str, number: int, skew: timedelta) -> tuple[OwnWorld, Database]:
        """World and connections of this copy of the service: kept from one schedule to the next, as is all that a
        process prepares but nothing that it remembers."""
        name = f"{service}/{number}"
        if name not in self._pools:
            world = OwnWorld(self.clock, skew)
            self._pools[name] = world, Database(self._urls[service], world.world)
        return self._pools[name]

    async def close(self) -> None:
        for _, db in self._pools.values():
            await db.close()
        for look in self._looks.values():
            await look.close()

    async def rows(self, service: str, query: str) -> list[dict[str, Any]]:
        return [dict(row) for row in await self._looks[service].fetch(query)]

    async def tuples(self, service: str, query: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in await self._looks[service].fetch(query)]

    async def value(self, service: str, query: str, *given: Any) -> Any:
        return await self._looks[service].fetchval(query, *given)

    async def keep(self) -> None:
        """Remember what the databases hold now."""
        for service in SERVICES:
            copies = [f'CREATE TABLE {KEPT}."{table}" AS TABLE public."{table}"' for table in _tables(service)]
            await self._looks[service.name].execute(";".join([f"CREATE SCHEMA {KEPT}", *copies]))

    async def put_back(self) -> None:
        """Make the databases hold what was kept, and nothing else."""
        for service in SERVICES:
            names = _tables(service)
            emptied = ", ".join(f'public."{name}"' for name in names)
            # Not by DELETE: what earlier schedules left in the files would decide in which order rows are read.
            await self._looks[service.name].execute(
                # The ledger's triggers refuse it to everybody else, as they should.
                f"SET session_replication_role = replica; TRUNCATE {emptied} RESTART IDENTITY;"
                + ";".join(
                    f'INSERT INTO public."{name}" OVERRIDING SYSTEM VALUE SELECT * FROM {KEPT}."{name}"'
                    for name in names
                )
            )

    async def digest(self) -> str:
        """A hash of every row of every table."""
        digest = hashlib.sha256()
        for service in SERVICES:
            for name in _tables(service):
                rows = f"SELECT coalesce(string_agg(t::text, chr(10) ORDER BY t::text), '') FROM public.\"{name}\" t"
                digest.update(f"{service.name}.{name}\n{await self._looks[service.name].fetchval(rows)}\n".encode())
        return digest.hexdigest()


def _tables(service: Service) -> Sequence[str]:
    return [table.name for table in service.metadata.sorted_tables]
