"""Where an installation has its databases, queues and secrets: standalone in a folder, or in containers."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx
from sqlalchemy import make_url

from chassis import embedded_postgres
from chassis.server import say
from chassis.topology import UNHEARD
from deploy.backups.manifest import Kind
from deploy.backups.moment import CannotBackUp
from deploy.broker import management
from deploy.secrets import ENVIRONMENT, FILE_MODE
from deploy.setup import superuser, until_ready

# The broker's figures are at most so old: a quorum queue tells its own every 5 s, the page gathers them every 5 s.
FIGURES_AGE_S = 12.0
DRAIN_WAIT_S = 60.0
STANDALONE_SECRETS = "secrets.json"


class NoInstallation(Exception):
    """There is nothing to back up, or no place to restore to; the message says why."""


class Place(Protocol):
    """One installation, as taking and restoring a backup see it."""

    kind: Kind
    environment: str
    server_url: str  # a superuser's

    def database(self, service: str) -> str:
        """The name of a service's database."""
        ...

    def password(self, service: str) -> str | None:
        """What a service signs in with at its database; None where each start gives a fresh one."""
        ...

    async def drained(self) -> None:
        """Return once no letter is in a queue, or in a consumer's hand; CannotBackUp when that does not come."""
        ...

    async def letters(self) -> dict[str, int]:
        """How many letters each queue holds that is not empty."""
        ...

    def copy_secrets(self, folder: Path) -> None:
        """Put the secrets into a folder, which is made."""
        ...


class Standalone:
    """All in one process: `data` is its folder. A letter is handed over before its relay lets go of the batch."""

    kind: Kind = "standalone"

    def __init__(self, data: Path, server_url: str, *, prefix: str = "linli") -> None:
        self.server_url = server_url
        self._data = data
        self._prefix = prefix
        kept = json.loads((data / STANDALONE_SECRETS).read_text(encoding="utf-8"))
        self.environment = str(kept["environment"])

    def database(self, service: str) -> str:
        return f"{self._prefix}_{service}"

    def password(self, service: str) -> str | None:  # noqa: ARG002 - the same for every service
        return None

    async def drained(self) -> None:
        return

    async def letters(self) -> dict[str, int]:
        return {}

    def copy_secrets(self, folder: Path) -> None:
        copy_secrets(self._data, folder, mode=0o600, only=STANDALONE_SECRETS)


class Containers:
    """What `make up` runs, seen from a container beside the others; `secrets` is the folder with all of them."""

    kind: Kind = "containers"

    def __init__(self, secrets: Path) -> None:
        if not (secrets / ENVIRONMENT).is_file():
            raise NoInstallation("there are no secrets: nothing was brought up here by `make up`")
        self._secrets = secrets
        self.environment = self._secret(ENVIRONMENT)
        own = make_url(self._secret("members_database_url"))
        self.server_url = superuser(own, self._secret("postgres_password")).render_as_string(hide_password=False)

    def _secret(self, name: str) -> str:
        return (self._secrets / name).read_text(encoding="utf-8").strip()

    def database(self, service: str) -> str:
        return str(make_url(self._secret(f"{service}_database_url")).database)

    def password(self, service: str) -> str | None:
        return make_url(self._secret(f"{service}_database_url")).password

    async def drained(self) -> None:
        deadline = time.monotonic() + FIGURES_AGE_S + DRAIN_WAIT_S
        await asyncio.sleep(FIGURES_AGE_S)
        while full := await self.letters():
            if time.monotonic() > deadline:
                waiting = ", ".join(f"{count} in {queue}" for queue, count in full.items())
                raise CannotBackUp(
                    f"letters stay in the queues ({waiting}): a backup without them would lose them, so the services "
                    "that listen have to run"
                )
            await asyncio.sleep(1)

    async def letters(self) -> dict[str, int]:
        queues: list[dict[str, Any]] = []

        async def ask() -> None:
            queues.extend((await api.get("/queues")).raise_for_status().json())

        async with management(urlsplit(self._secret("admin_amqp_url"))) as api:
            await until_ready("the broker", ask, lambda error: isinstance(error, httpx.HTTPError))
        # A queue without figures yet may hold anything.
        counts = {queue["name"]: queue.get("messages", 1) for queue in queues if queue["name"] != UNHEARD}
        return {name: count for name, count in counts.items() if count}

    def copy_secrets(self, folder: Path) -> None:
        copy_secrets(self._secrets, folder, mode=0o600)


@contextmanager
def standalone(data: Path) -> Iterator[Standalone]:
    """The installation in `data`, running or at rest; its database is started for the block where it does not run."""
    if not (data / STANDALONE_SECRETS).is_file():
        raise NoInstallation(f"there is no installation in {data}")
    with database_server(data) as url:
        yield Standalone(data, url)


@contextmanager
def database_server(data: Path) -> Iterator[str]:
    """URL of the server that keeps the data of a standalone: `DATABASE_URL`, the one running, or one for the block."""
    given = os.environ.get("DATABASE_URL")
    running = given or embedded_postgres.running(data / "postgres")
    if running:
        yield running.replace("postgresql://", "postgresql+asyncpg://", 1)
        return
    with embedded_postgres.start(data / "postgres", say=say) as server:
        yield server.url()


def copy_secrets(source: Path, target: Path, *, mode: int = FILE_MODE, only: str = "*") -> None:
    """Copy the files of a folder, with this mode; one that is there with the same content stays."""
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    for file in sorted(source.glob(only)):
        if file.name.startswith(".") or not file.is_file():
            continue
        content, copy = file.read_bytes(), target / file.name
        if copy.is_file() and copy.read_bytes() == content:
            continue
        with os.fdopen(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as opened:
            os.fchmod(opened.fileno(), mode)
            opened.write(content)
