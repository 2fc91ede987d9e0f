"""Restoring a backup into an empty installation.

The broker is not restored: its queues were empty at the moment of the backup. What was not sent then stands in the
outboxes and is sent once the services run; an inbox knows what it has had.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import make_url, text

from chassis import migrations
from chassis.server import say
from chassis.service import Service
from deploy.backups.archives import restore
from deploy.backups.contents import DatabaseContents, contents_of, ledger_of, tables_of
from deploy.backups.manifest import Manifest, archive_name
from deploy.backups.moment import connect
from deploy.backups.places import Place
from deploy.services import SERVICES


class CannotRestore(Exception):
    """The backup cannot be restored here; the message says why."""


async def restore_databases(place: Place, folder: Path, manifest: Manifest) -> None:
    """Fill the installation's databases, compare them with the manifest, bring them to this release."""
    for service in SERVICES:
        require_known(service, manifest.databases[service.name].revision)
    await require_empty(place)
    for service in SERVICES:
        database, noted = place.database(service.name), manifest.databases[service.name]
        urls = await migrations.provision(place.server_url, database, place.password(service.name))
        owner = str(make_url(urls.migrator).username)
        await restore(place.server_url, database, owner, folder / archive_name(service.name))
        await _compare(place.server_url, database, noted)
        await migrations.upgrade(urls, service.metadata, service.revisions)
        say(f"{service.name}: {sum(table.rows for table in noted.tables.values())} rows are as they were")
    async with connect(place.server_url, place.database("points")) as connection:
        ledger = await ledger_of(connection)
    if ledger != manifest.ledger:
        raise CannotRestore(f"the ledger's sums were {manifest.ledger} and are {ledger}")


def require_known(service: Service, revision: str) -> None:
    """CannotRestore for a schema that only a newer release knows."""
    if revision not in migrations.known_revisions(service.metadata, service.revisions):
        raise CannotRestore(
            f"the backup has revision {revision} of {service.name}, which this release does not know: take a newer one"
        )


async def require_empty(place: Place) -> None:
    """CannotRestore where there is anything that a restore would mix with."""
    if letters := await place.letters():
        raise CannotRestore(f"there are letters in the queues {', '.join(letters)}: this is not a new installation")
    async with connect(place.server_url, "postgres") as connection:
        found = await connection.scalars(text("SELECT datname FROM pg_database"))
        there = {place.database(service.name) for service in SERVICES} & set(found)
    for database in sorted(there):
        async with connect(place.server_url, database) as connection:
            if await tables_of(connection):
                raise CannotRestore(f"database {database} is not empty: a backup is restored into a new installation")


async def _compare(server_url: str, database: str, noted: DatabaseContents) -> None:
    async with connect(server_url, database) as connection:
        await connection.execute(text("ANALYZE"))
        found = await contents_of(connection)
    differing = [name for name in noted.tables if noted.tables[name] != found.tables.get(name)]
    if differing or found.revision != noted.revision:
        raise CannotRestore(f"{database} is not as it was: {', '.join(differing) or found.revision}")
