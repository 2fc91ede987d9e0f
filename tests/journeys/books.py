"""What the services' databases say of the same claims; at rest they agree, whatever happened."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import make_url

from chassis import embedded_postgres

# The rows of a query on a service's database, as text.
Ask = Callable[[str, str], list[str]]

CLAIMS = "SELECT id FROM claims ORDER BY id"
SEEN = "SELECT id FROM claims_seen ORDER BY id"
TOLD = "SELECT count(*) FROM messages WHERE template = 'claim_accepted'"
AWARDED = "SELECT count(*) FROM transfers WHERE kind = 'award' AND event_type = 'linli.orders.claim_accepted.v1'"
UNSETTLED = "SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM parked)"


@dataclass(frozen=True)
class Books:
    """Claims by id in orders and in catalog's copy; how many were told by a message, how many had their award."""

    claims: tuple[str, ...]
    seen: tuple[str, ...]
    told: int
    awarded: int

    def agree(self) -> bool:
        return self.claims == self.seen and self.told == self.awarded == len(self.claims)


def books(ask: Ask) -> Books:
    """As they are now."""
    [told], [awarded] = ask("notify", TOLD), ask("points", AWARDED)
    return Books(tuple(ask("orders", CLAIMS)), tuple(ask("catalog", SEEN)), int(told), int(awarded))


def settled(ask: Ask, services: tuple[str, ...]) -> bool:
    """Whether every fact has been sent and had by all."""
    return all(ask(service, UNSETTLED) == ["0"] for service in services)


def standalone_books(data: Path) -> Ask:
    """Asks the databases of the standalone that runs on `data`."""

    def ask(service: str, query: str) -> list[str]:
        url = make_url(str(embedded_postgres.running(data / "postgres")))
        login = ("-h", str(url.query["host"]), "-U", str(url.username), "-d", f"linli_{service}")
        command = [str(embedded_postgres.binaries() / "psql"), *login, "-AtX", "-c", query]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    return ask
