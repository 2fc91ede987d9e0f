"""Every redemption ends, and its hold ends with it."""

from __future__ import annotations

from tests.simulation.installation import Installation
from tests.simulation.invariants.compare import tuples

REDEMPTIONS = "SELECT id, status FROM redemptions"
HOLDS = "SELECT redemption_id, state, confirmed FROM holds"
# What may have become of the hold of a redemption in each state that it may rest in. `True`: a confirmed hold.
AT_REST = {
    "confirmed": {("placed", True)},
    "completed": {("captured", True), ("captured", False)},
    "refused": {("refused", False), ("cancelled", False), ("released", False)},
    "cancelled": {(state, sure) for state in ("released", "refused", "cancelled") for sure in (False, True)},
}


async def check(installation: Installation) -> list[str]:
    """No redemption waits for an answer, and each agrees with its hold."""
    holds = {redemption: (state, sure) for redemption, state, sure in await tuples(installation, "points", HOLDS)}
    problems = []
    for redemption, status in await tuples(installation, "orders", REDEMPTIONS):
        hold = holds.pop(redemption, None)
        if hold not in AT_REST.get(status, set()):
            problems.append(f"redemption {redemption} is {status}, its hold {hold}")
    return problems + [f"a hold for redemption {redemption}, which there is not" for redemption in holds]


async def check_ended(installation: Installation) -> list[str]:
    """None is open any more."""
    rows = await tuples(installation, "orders", REDEMPTIONS)
    return [f"redemption {redemption} is still {status}" for redemption, status in rows if status == "confirmed"]
