"""Every version of every thing was told, once, under one id; outboxes and queues are empty, nothing is parked."""

from __future__ import annotations

from collections import defaultdict

from contracts.event import Envelope, Event, parse
from deploy.services import SERVICES
from tests.simulation.databases import KEPT
from tests.simulation.installation import Installation
from tests.simulation.invariants.compare import tuples

# Things whose every version is a fact: the service, and a query for id and version.
VERSIONS = [
    ("orders", "claims", "id"),
    ("orders", "bookings", "id"),
    ("orders", "attendances", "id"),
    ("orders", "redemptions", "id"),
    ("points", "holds", "redemption_id"),
    ("catalog", "sessions", "id"),
    ("catalog", "needs", "id"),
    ("members", "registrations", "id"),
    ("members", "memberships", "id"),
    ("members", "roles", "id"),
]
DEAD = "SELECT type, cause FROM parked WHERE state = 'dead'"


def told(installation: Installation) -> list[Envelope[Event]]:
    """What was told since the beginning, each event once."""
    return list({letter.event_id: parse(letter.document) for letter in installation.bus.told}.values())


async def check(installation: Installation) -> list[str]:
    problems = [f"{count} {what}" for what, count in (await installation.pending()).items()]
    for service in SERVICES:
        dead = await tuples(installation, service.name, DEAD)
        problems += [f"{service.name}: dead letter {kind}: {cause}" for kind, cause in dead]
    versions: dict[tuple[str, str], list[int]] = defaultdict(list)
    for envelope in told(installation):
        versions[envelope.data.producer(), envelope.partitionkey].append(envelope.sequence)
    for service_name, table, key in VERSIONS:
        rows = await tuples(installation, service_name, _new_or_changed(table, key))
        for thing, before, version in rows:
            heard = sorted(versions[service_name, str(thing)])
            if heard != list(range(before + 1, version + 1)):
                problems.append(f"{service_name}: of {table} {thing}, version {before} to {version}, {heard} were told")
    return problems


def _new_or_changed(table: str, key: str) -> str:
    """Id, version in the beginning, version now."""
    return (
        f"SELECT t.{key}, coalesce(k.version, 0), t.version FROM public.{table} t"
        f" LEFT JOIN {KEPT}.{table} k ON k.{key} = t.{key} WHERE t.version > coalesce(k.version, 0)"
    )
