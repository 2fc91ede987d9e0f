"""Taking a backup of a running installation, or of one at rest."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from chassis.server import say
from chassis.settings import SERVICE_NAMES
from deploy.backups.archives import dump
from deploy.backups.contents import DatabaseContents, contents_of, ledger_of
from deploy.backups.manifest import SECRETS, Manifest, archive_name, notes
from deploy.backups.moment import CannotBackUp, Drained, Snapshot, at_one_moment
from deploy.backups.places import Place

# Gives the snapshots that all belong to one moment.
Moment = Callable[[str, Sequence[str], Drained], AbstractAsyncContextManager[Mapping[str, Snapshot]]]
# Settings with which an installation may be given its keys from outside; no file of it then has them.
KEYS_BY_SETTING = ("LINLI_CONTACT_KEY", "LINLI_PHONE_INDEX_KEY", "LINLI_TOKEN_KEY")


async def back_up(place: Place, folder: Path, release: str, *, moment: Moment = at_one_moment) -> Manifest:
    """Write a backup into `folder`, which is made; all of it is there, or nothing."""
    with whole(folder) as partial:
        return await _write(place, partial, release, moment)


@contextmanager
def whole(folder: Path) -> Iterator[Path]:
    """A folder to write into, which gets its name once the block ends well."""
    if folder.exists():
        raise CannotBackUp(f"{folder} is there already")
    partial = folder.with_name(folder.name + ".partial")
    partial.mkdir(mode=0o700, parents=True)
    try:
        yield partial
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


async def _write(place: Place, folder: Path, release: str, moment: Moment) -> Manifest:
    databases = [place.database(name) for name in SERVICE_NAMES]
    contents: dict[str, DatabaseContents] = {}
    ledger: dict[str, int] = {}
    began = time.monotonic()
    async with moment(place.server_url, databases, place.drained) as snapshots:
        made_at, held_up_s = datetime.now(UTC), time.monotonic() - began
        say(f"every database is seen as of {made_at:%F %T} UTC; facts waited {held_up_s:.1f} s for it")
        for name in SERVICE_NAMES:
            snapshot = snapshots[place.database(name)]
            await dump(place.server_url, place.database(name), snapshot.id, folder / archive_name(name))
            contents[name] = await contents_of(snapshot.connection)
            if name == "points":
                ledger = await ledger_of(snapshot.connection)
            say(f"{name}: {sum(table.rows for table in contents[name].tables.values())} rows")
    place.copy_secrets(folder / SECRETS)
    manifest = Manifest(
        made_at=made_at,
        release=release,
        kind=place.kind,
        environment=place.environment,
        held_up_s=round(held_up_s, 3),
        ledger=ledger,
        databases=contents,
        kept_elsewhere=[name for name in KEYS_BY_SETTING if os.environ.get(name)],
        files=notes(folder),
    )
    manifest.write(folder)
    return manifest
