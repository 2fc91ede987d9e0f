"""Write a service's next migration from the difference between its models and its revisions.

    make migration SERVICE=orders MESSAGE="add pledges"

Read what it wrote: a rename looks like a drop and an add, and data is not its business.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import tempfile
from pathlib import Path

from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from chassis import embedded_postgres, migrations
from chassis.service import Service


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("service")
    parser.add_argument("message")
    arguments = parser.parse_args()
    service: Service = importlib.import_module(f"services.{arguments.service}.app").SERVICE
    service.revisions.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        server = embedded_postgres.start(Path(folder) / "data", durable=False)
        try:
            asyncio.run(_write(service, arguments.message, server.url()))
        finally:
            server.stop()


async def _write(service: Service, message: str, server_url: str) -> None:
    urls = await migrations.provision(server_url, "draft")
    await migrations.upgrade(urls, service.metadata, service.revisions)
    engine = create_async_engine(urls.migrator)
    async with engine.begin() as connection:
        await connection.run_sync(_autogenerate, service, message)
    await engine.dispose()


def _autogenerate(connection: Connection, service: Service, message: str) -> None:
    config = migrations.config_for(connection, service.metadata, service.revisions)
    number = len(list(ScriptDirectory.from_config(config).walk_revisions())) + 1
    command.revision(config, message, autogenerate=True, rev_id=f"{number:04d}", version_path=str(service.revisions))


if __name__ == "__main__":
    main()
