"""When something is due next, in any of the services' tables."""

from __future__ import annotations

from datetime import datetime

from tests.simulation.installation import Installation

DUE = {
    "members": [],
    "catalog": [],
    "orders": [
        "SELECT min(lease_until) FROM claims WHERE status IN ('accepted', 'signed') AND lease_until > $1",
        "SELECT min(deadline) FROM redemptions WHERE deadline > $1",
        "SELECT min(starts_at) FROM session_offers WHERE starts_at > $1",
        "SELECT min(ends_at) FROM session_offers WHERE ends_at > $1",
    ],
    "points": ["SELECT min(expires_at) FROM holds WHERE expires_at > $1"],
    "notify": ["SELECT min(due_at) FROM deliveries WHERE state IN ('waiting', 'sending') AND due_at > $1"],
}
EVERYWHERE = [
    "SELECT min(next_at) FROM outbox WHERE next_at > $1",
    "SELECT min(next_at) FROM parked WHERE state = 'retry' AND next_at > $1",
]


async def next_deadline(installation: Installation) -> datetime | None:
    """The earliest of all that lies ahead; None where nothing does."""
    found = [
        due
        for service, queries in DUE.items()
        for query in [*queries, *EVERYWHERE]
        if (due := await installation.shelf.value(service, query, installation.clock.time)) is not None
    ]
    return min(found, default=None)
