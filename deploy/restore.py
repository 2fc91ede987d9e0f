"""Restore a backup into an empty installation: `make restore FROM=…`.

    python -m deploy.restore FOLDER --data ./data                                     standalone
    python -m deploy.restore FOLDER --secrets ./secrets --only-secrets --environment production
    python -m deploy.restore FOLDER --secrets ./secrets                               containers, from among them

Containers need the secrets before their databases can run, so they are restored first.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
from pathlib import Path

import httpx
from sqlalchemy.exc import SQLAlchemyError

from chassis.embedded_postgres import EmbeddedPostgresError
from chassis.server import say
from deploy.backups.archives import ArchiveFailed
from deploy.backups.manifest import SECRETS, BadBackup, Kind, Manifest
from deploy.backups.places import (
    STANDALONE_SECRETS,
    Containers,
    NoInstallation,
    Standalone,
    copy_secrets,
    database_server,
)
from deploy.backups.restoring import CannotRestore, restore_databases
from deploy.setup import NotReady, reason


def main() -> int:
    """Restore; returns the process's exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--data", type=Path)
    where.add_argument("--secrets", type=Path)
    parser.add_argument("--only-secrets", action="store_true")
    parser.add_argument("--environment", choices=("development", "production"))
    given = parser.parse_args()
    os.umask(0o077)
    try:
        manifest = _read(given.folder, "containers" if given.secrets else "standalone")
        if given.only_secrets:
            restore_secrets(given.folder, manifest, given.secrets, given.environment)
        elif given.secrets:
            asyncio.run(restore_databases(Containers(given.secrets), given.folder, manifest))
        else:
            restore_standalone(given.folder, manifest, given.data)
    except (
        BadBackup,
        CannotRestore,
        NoInstallation,
        NotReady,
        ArchiveFailed,
        EmbeddedPostgresError,
        SQLAlchemyError,
        httpx.HTTPError,
        OSError,
    ) as error:
        say(f"not restored: {reason(error)}")
        return 1
    if not given.only_secrets:
        say(f"restored as of {manifest.made_at:%F %T} UTC, the ledger's sums are {manifest.ledger}")
    return 0


def _read(folder: Path, kind: Kind) -> Manifest:
    manifest = Manifest.read(folder)
    if manifest.kind != kind:
        raise CannotRestore(f"the backup is of an installation of the kind {manifest.kind}, not of {kind}")
    for name in manifest.kept_elsewhere:
        say(f"{name} was set in the environment when the backup was taken: set it again before the first start")
    return manifest


def restore_secrets(folder: Path, manifest: Manifest, secrets: Path, environment: str | None) -> None:
    """Put the secrets of containers into their folder; CannotRestore where those of another installation are."""
    if environment != manifest.environment:
        raise CannotRestore(f"the backup is of {manifest.environment} mode, not of {environment}")
    kept = {file.name: file.read_bytes() for file in (folder / SECRETS).iterdir()}
    there = {file.name: file.read_bytes() for file in secrets.iterdir() if not file.name.startswith(".")}
    # The same ones are those of a restore that was interrupted.
    if any(kept.get(name) != content for name, content in there.items()):
        raise CannotRestore(
            "the folder for the secrets has those of another installation: `make down WIPE=1` removes it"
        )
    copy_secrets(folder / SECRETS, secrets)


def restore_standalone(folder: Path, manifest: Manifest, data: Path) -> None:
    """Make a standalone of the backup in `data`; what fails leaves nothing. CannotRestore where there is one."""
    if (data / STANDALONE_SECRETS).exists() or (data / "postgres" / "cluster").exists():
        raise CannotRestore(
            f"{data} holds an installation: a backup is restored into a new one, LINLI_DATA names its folder"
        )
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    copy_secrets(folder / SECRETS, data, mode=0o600)
    try:
        with database_server(data) as url:
            asyncio.run(restore_databases(Standalone(data, url), folder, manifest))
    except BaseException:
        # It was empty, and is again.
        (data / STANDALONE_SECRETS).unlink(missing_ok=True)
        shutil.rmtree(data / "postgres", ignore_errors=True)
        raise


if __name__ == "__main__":
    sys.exit(main())
