"""What holds in every installation, whatever happened: each check returns what is wrong, as sentences."""

from __future__ import annotations

from tests.simulation.installation import Installation
from tests.simulation.invariants import capacity, copies, delivery, messages, points, sagas


async def always(installation: Installation) -> list[str]:
    """What holds between any two steps."""
    return [*await capacity.check(installation), *await points.check_ledger(installation)]


async def at_rest(installation: Installation, *, ended: bool = False) -> list[str]:
    """What holds once nothing is under way; `ended`: and once everything with a deadline has run out."""
    problems = [*await always(installation), *await delivery.check(installation)]
    for check in (capacity.check_waiting, copies.check, points.check_recount, messages.check, sagas.check):
        problems += await check(installation)
    problems += await (sagas.check_ended(installation) if ended else copies.check_cutoffs(installation))
    return problems
