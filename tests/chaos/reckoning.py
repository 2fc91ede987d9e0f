"""What became of the orders, by the rows of every service: counted against what was answered."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tests.chaos.orders import Neighbourhood, Placed
from tests.chaos.stack import FailingStack
from tests.journeys.compose import SERVICES

# From the last heal, and the last order, until nothing is left to send, to try again or to end.
SETTLED_WITHIN_S = 60.0

# Whom a claim and a check-in concern, as (title, person), or as the claim's id.
Effects = Counter[tuple[str, ...]]

_BY_TITLE = {
    "points: award of the claim": (
        "points",
        "SELECT title, subject_id, count(*) FROM transfers WHERE kind = 'award'"
        " AND event_type = 'linli.orders.claim_accepted.v1' AND title LIKE '{run} %' GROUP BY 1, 2",
    ),
    "notify: message of the claim": (
        "notify",
        "SELECT params->>'title', person_id, count(*) FROM messages WHERE template = 'claim_accepted'"
        " AND params->>'title' LIKE '{run} %' GROUP BY 1, 2",
    ),
    "catalog: copy of the claim": (
        "catalog",
        "SELECT s.id, count(*) FROM claims_seen s JOIN products p ON p.id = s.product_id"
        " WHERE p.title LIKE '{run} %' AND s.state = 'active' GROUP BY 1",
    ),
    "points: award of the check-in": (
        "points",
        "SELECT title, subject_id, count(*) FROM transfers WHERE kind = 'award' AND rule = 'participation'"
        " AND title LIKE '{run} %' GROUP BY 1, 2",
    ),
    "notify: message of the award": (
        "notify",
        "SELECT params->>'title', person_id, count(*) FROM messages WHERE template = 'points_awarded'"
        " AND params->>'title' LIKE '{run} %' GROUP BY 1, 2",
    ),
}
# What may be left nowhere once all is healed.
_STUCK = "SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM parked)"
_OPEN_SAGAS = "SELECT count(*) FROM redemptions WHERE status IN ('requested', 'confirmed', 'collected')"
_OPEN_HOLDS = "SELECT count(*) FROM holds WHERE state IN ('awaited', 'placed')"
_STOCK_ADRIFT = (
    "SELECT sum(stock_taken) - (SELECT coalesce(sum(quantity), 0) FROM redemptions WHERE status NOT IN"
    " ('refused', 'cancelled')) FROM reward_offers"
)


@dataclass
class Fault:
    """One fault's line in the results. `expected`: effects that must follow; `delivered`: different ones that did."""

    name: str
    expected: int = 0
    delivered: int = 0
    effects: int = 0
    duplicates: int = 0
    lost: int = 0
    stuck: int = 0
    orders: int = 0
    refused_meanwhile: int = 0
    settled_after_s: float = 0.0

    def line(self) -> dict[str, Any]:
        return asdict(self)


def reckon(stack: FailingStack, run: str, placed: Placed) -> Fault:
    """How things stand now."""
    expected: Mapping[str, set[tuple[str, ...]]] = {
        "points: award of the claim": set(placed.claims.values()),
        "notify: message of the claim": set(placed.claims.values()),
        "catalog: copy of the claim": {(claim,) for claim in placed.claims},
        "points: award of the check-in": set(placed.came),
        "notify: message of the award": set(placed.came),
    }
    found = Fault(run, orders=len(placed.claims), refused_meanwhile=placed.failures.total())
    rows = {claim for (claim,) in stack.sql("orders", f"SELECT id FROM claims WHERE title LIKE '{run} %'")}  # noqa: S608
    found.lost += len(set(placed.claims) - rows)  # answered, and not there
    found.duplicates += len(rows - set(placed.claims))  # there, and never answered
    for what, (database, query) in _BY_TITLE.items():
        effects: Effects = Counter()
        for *about, count in stack.sql(database, query.format(run=run)):
            effects[tuple(about)] = int(count)
        found.expected += len(expected[what])
        found.delivered += len(expected[what] & effects.keys())
        found.effects += effects.total()
        found.lost += len(expected[what] - effects.keys())
        found.duplicates += effects.total() - len(expected[what] & effects.keys())
    found.stuck = left(stack)
    return found


def left(stack: FailingStack) -> int:
    """Rows that still wait somewhere: to be sent, to be tried again, to end."""
    waiting = [int(stack.sql(service, _STUCK)[0][0]) for service in SERVICES]
    open_sagas, open_holds = stack.sql("orders", _OPEN_SAGAS)[0][0], stack.sql("points", _OPEN_HOLDS)[0][0]
    adrift = stack.sql("orders", _STOCK_ADRIFT)[0][0]
    return sum(waiting) + int(open_sagas) + int(open_holds) + abs(int(adrift or 0))


def settle(stack: FailingStack, run: str, placed: Placed, left_before: int = 0) -> Fault:
    """How things stand once nothing is missing and nothing waits any more, or after `SETTLED_WITHIN_S`."""
    began = time.monotonic()
    while True:
        found = reckon(stack, run, placed)
        found.stuck -= left_before
        found.settled_after_s = round(time.monotonic() - began, 1)
        if not (found.lost or found.stuck) or found.settled_after_s > SETTLED_WITHIN_S:
            return found
        time.sleep(1)


def check_ledger(neighbourhood: Neighbourhood) -> None:
    """The ledger sums to zero, nobody has less than nothing, and every balance is the sum of its entries."""
    check = neighbourhood.staff.send("GET", "/points/ledger/check", 200).json()
    found = {name: check[name] for name in ("sum", "negative_accounts", "mismatched_accounts")}
    assert found == {"sum": 0, "negative_accounts": 0, "mismatched_accounts": 0}, check


def until(holds: Callable[[], bool], within_s: float) -> bool:
    """Whether it came to hold in time."""
    end = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.2)
    return True
