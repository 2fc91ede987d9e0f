"""Back an installation up, while it runs or while it rests: `make backup`.

    python -m deploy.backup FOLDER --data ./data          standalone
    python -m deploy.backup FOLDER --secrets ./secrets    containers, from among them

FOLDER is made: an archive of each database, all as of one moment, the secrets, and a manifest. It holds the keys as
well as what they protect: whoever has it has everything.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

import httpx
from sqlalchemy.exc import SQLAlchemyError

from chassis.embedded_postgres import EmbeddedPostgresError
from chassis.server import say
from deploy.backups.archives import ArchiveFailed
from deploy.backups.manifest import Manifest
from deploy.backups.moment import CannotBackUp
from deploy.backups.places import Containers, NoInstallation, Place, standalone
from deploy.backups.taking import back_up
from deploy.setup import NotReady, reason


def main() -> int:
    """Take the backup; returns the process's exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--data", type=Path)
    where.add_argument("--secrets", type=Path)
    parser.add_argument("--release", default="unknown")
    given = parser.parse_args()
    os.umask(0o077)
    try:
        if given.secrets:
            manifest = _take(Containers(given.secrets), given.folder, given.release)
        else:
            with standalone(given.data) as place:
                manifest = _take(place, given.folder, given.release)
    except (
        CannotBackUp,
        NoInstallation,
        NotReady,
        ArchiveFailed,
        EmbeddedPostgresError,
        SQLAlchemyError,
        httpx.HTTPError,
        OSError,
    ) as error:
        say(f"no backup was taken: {reason(error)}")
        return 1
    for name in manifest.kept_elsewhere:
        say(f"{name} is set in the environment and is not in the backup: keep it with it")
    if any(count for sum_of, count in manifest.ledger.items() if sum_of != "transfers"):
        say(f"THE LEDGER IS NOT SOUND: {manifest.ledger}")
    say(f"the backup is complete; it holds all keys: keep it from others ({given.folder.name})")
    return 0


def _take(place: Place, folder: Path, release: str) -> Manifest:
    return asyncio.run(back_up(place, folder, release))


if __name__ == "__main__":
    sys.exit(main())
