"""A database as an archive in pg_dump's custom format, and back, by the programs of the embedded PostgreSQL's package.

pg_dump reads servers of its own version and older ones, so one set of programs serves both ways of running.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import URL, make_url

from chassis.embedded_postgres import binaries

# Somebody changes the schema: better no backup than one that holds up everybody behind it.
LOCK_WAIT_MS = 30_000


class ArchiveFailed(Exception):
    """pg_dump or pg_restore failed; the message is what it said."""


async def dump(server_url: str, database: str, snapshot: str, file: Path) -> None:
    """Write the database, as the snapshot sees it, without owners and rights: whoever restores it gives those."""
    options = ("--format=custom", "--no-owner", "--no-privileges", f"--lock-wait-timeout={LOCK_WAIT_MS}")
    await _run("pg_dump", make_url(server_url).set(database=database), *options, f"--snapshot={snapshot}", f"-f{file}")


async def restore(server_url: str, database: str, owner: str, file: Path) -> None:
    """Fill an empty database, all of it or nothing; `owner` is the role to which everything in it is to belong."""
    options = ("--no-owner", "--no-privileges", "--single-transaction", "--exit-on-error", f"--role={owner}")
    await _run("pg_restore", make_url(server_url), f"--dbname={database}", *options, str(file))


async def _run(program: str, url: URL, *arguments: str) -> None:
    process = await asyncio.create_subprocess_exec(
        binaries() / program,
        *arguments,
        env=_login(url),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    if process.returncode:
        raise ArchiveFailed(f"{program} of {url.database}: {said.decode(errors='replace').strip()}")


def _login(url: URL) -> dict[str, str]:
    """libpq's variables, not its arguments: those can be read by everybody on the machine."""
    passed_on: Mapping[str, str] = {
        name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ
    }
    host, port = url.query.get("host", url.host), url.query.get("port", url.port)
    given = {"PGHOST": host, "PGPORT": port, "PGUSER": url.username, "PGPASSWORD": url.password}
    given["PGDATABASE"] = url.database
    return {**passed_on, "LC_ALL": "C", **{name: str(value) for name, value in given.items() if value}}
