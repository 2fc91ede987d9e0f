"""Nobody holds a place, seat or piece that was never there, and what is counted as taken is what is held."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from services.orders.waiting import OVERTAKES_MAX, move_up
from tests.simulation.installation import Installation

HELD = {
    "places of a product": """
        SELECT o.product_id::text AS thing, o.claim_taken AS taken, o.claim_total AS total, o.claim_limit AS most,
               (SELECT count(*) FROM claims c WHERE c.product_id = o.product_id AND c.status <> 'released') AS held
        FROM product_offers o""",
    "seats of a session": """
        SELECT o.session_id::text AS thing, o.seats_taken AS taken, o.seat_total AS total, o.seat_limit AS most,
               (SELECT coalesce(sum(b.seats), 0) FROM bookings b
                WHERE b.session_id = o.session_id AND b.status IN ('pending', 'confirmed')) AS held
        FROM session_offers o""",
    "pieces of a reward": """
        SELECT o.reward_id || ' ' || o.centre_id AS thing, o.stock_taken AS taken, o.stock_total AS total,
               o.stock_limit AS most,
               (SELECT coalesce(sum(r.quantity), 0) FROM redemptions r WHERE r.reward_id = o.reward_id
                AND r.centre_id = o.centre_id AND r.status NOT IN ('refused', 'cancelled')) AS held
        FROM reward_offers o""",
}
SESSIONS = """
    SELECT session_id, seat_total, seat_limit - seats_taken AS free FROM session_offers
    WHERE status = 'scheduled' AND starts_at > '{now}' AND seat_limit > seats_taken"""
WAITING = """
    SELECT session_id, seats, overtaken FROM bookings WHERE status = 'waitlisted' ORDER BY session_id, queue_number"""


async def check(installation: Installation) -> list[str]:
    """Taken is what is held, within the limit, which is the greater of total and taken, and never was more on offer."""
    problems = []
    for what, query in HELD.items():
        for row in await installation.shelf.rows("orders", query):
            most = installation.memory.offered.get(row["thing"])
            sound = row["taken"] == row["held"] and row["most"] == max(row["total"], row["taken"])
            if not sound or (most is not None and row["held"] > most):
                problems.append(f"{what}: {row}, at most {most} were ever on offer")
    return problems


@dataclass
class _Party:
    seats: int
    overtaken: int


async def check_waiting(installation: Installation) -> list[str]:
    """Nobody waits for seats that are free and theirs, and nobody was overtaken once too often."""
    rows = await installation.shelf.rows("orders", WAITING)
    problems = [f"a party was overtaken {row['overtaken']} times" for row in rows if row["overtaken"] > OVERTAKES_MAX]
    # The copies' clocks differ: what begins about now is left out.
    now = max(process.runtime.world.now() for process in installation.processes.values())
    return problems + [
        f"session {session}: {moved} wait for seats that are free"
        for session in await installation.shelf.rows("orders", SESSIONS.format(now=now.isoformat()))
        if (moved := move_up(_parties(rows, session), session["free"]))
    ]


def _parties(rows: list[dict[str, Any]], session: dict[str, Any]) -> list[_Party]:
    mine = [row for row in rows if row["session_id"] == session["session_id"] and row["seats"] <= session["seat_total"]]
    return [_Party(row["seats"], row["overtaken"]) for row in mine]
