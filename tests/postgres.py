"""A PostgreSQL in Docker for tests, where the one that standalone brings is not the one to be tried."""

from __future__ import annotations

import asyncio
import secrets
import time

import asyncpg

READY_TIMEOUT_S = 60
# Nothing here outlives the run.
NOT_DURABLE = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=300"


def start_postgres(image: str) -> str:
    """Superuser's URL of a new server, once it answers."""
    from tests.containers import start  # slow to import

    password = secrets.token_urlsafe(12)
    environment = {"POSTGRES_PASSWORD": password}
    address = start(image, 5432, environment, command=f"postgres {NOT_DURABLE}", tmpfs="/var/lib/postgresql/data")
    server = f"postgres:{password}@{address}/postgres"
    asyncio.run(wait_until_ready(f"postgresql://{server}"))
    return f"postgresql+asyncpg://{server}"


async def wait_until_ready(url: str) -> None:
    end = time.monotonic() + READY_TIMEOUT_S
    while True:
        try:
            connection = await asyncpg.connect(url, timeout=2)
        except (asyncpg.PostgresError, OSError):
            assert time.monotonic() < end, f"the database in Docker does not answer in {READY_TIMEOUT_S} s"
            await asyncio.sleep(0.1)
        else:
            return await connection.close()
