"""What one service can say of itself in figures, read with one query: for Prometheus and for the operators' page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import DateTime, ScalarSelect, Select, bindparam, cast, func, select
from sqlalchemy.dialects.postgresql import JSONB

from chassis.bus import Bus
from chassis.db import Database
from chassis.inbox import Inbox
from chassis.metrics import Sample
from chassis.tables import outbox, parked

# For queries of figures: what was due before this time is late.
LATE = timedelta(minutes=1)
LATE_BEFORE = bindparam("late_before", type_=DateTime(timezone=True))


@dataclass(frozen=True)
class Figure:
    """A number that a service has besides those of every service; `linli_` + `name` in Prometheus."""

    name: str
    about: str
    query: Select[Any]


def _parked(state: str) -> ScalarSelect[Any]:
    return select(func.count()).select_from(parked).where(parked.c.state == state).scalar_subquery()


# When the oldest fact that waits happened; a row's `next_at` moves with every attempt.
_OLDEST = (
    select(cast(cast(outbox.c.document, JSONB)["time"].astext, DateTime(timezone=True)))
    .order_by(outbox.c.id)
    .limit(1)
    .scalar_subquery()
)
_BACKLOG = select(
    select(func.count()).select_from(outbox).scalar_subquery().label("outbox_rows"),
    _OLDEST.label("outbox_oldest"),
    _parked("retry").label("retries_waiting"),
    _parked("dead").label("dead_letters"),
)


@dataclass(frozen=True)
class Backlog:
    """What waits in a service's database, and the service's own figures by name."""

    outbox_rows: int
    outbox_age_s: float
    retries_waiting: int
    dead_letters: int
    figures: dict[str, int]


async def measure(db: Database, figures: Sequence[Figure]) -> Backlog:
    """Read them all at once."""
    query = _BACKLOG.add_columns(*(figure.query.scalar_subquery().label(figure.name) for figure in figures))
    now = db.world.now()
    [row] = await db.read(query, {"late_before": now - LATE})
    age = (now - row.outbox_oldest).total_seconds() if row.outbox_oldest else 0.0
    return Backlog(
        row.outbox_rows,
        max(age, 0.0),
        row.retries_waiting,
        row.dead_letters,
        {figure.name: getattr(row, figure.name) or 0 for figure in figures},
    )


async def samples(db: Database, inbox: Inbox, bus: Bus, figures: Sequence[Figure]) -> list[Sample]:
    """For Prometheus."""
    now = await measure(db, figures)
    return [
        Sample("linli_outbox_rows", "Facts told and not yet sent", now.outbox_rows),
        Sample("linli_outbox_age_seconds", "How long the oldest of them has waited", now.outbox_age_s),
        Sample("linli_retries_waiting", "Events that wait for their next attempt", now.retries_waiting),
        Sample("linli_dead_letters", "Events given up", now.dead_letters),
        *(Sample(f"linli_{one.name}", one.about, now.figures[one.name]) for one in figures),
        Sample("linli_bus_trouble", "1 while the bus is there and of no use: no consumer", bus.trouble() is not None),
        *(
            Sample("linli_events_handled_total", "Events that had their effect here", count, "counter", ("type", kind))
            for kind, count in inbox.handled.items()
        ),
        Sample("linli_event_failures_total", "Attempts to handle an event that failed", inbox.failures, "counter"),
        Sample("linli_pool_waits_total", "Requests that waited for a connection", db.waits, "counter"),
    ]
