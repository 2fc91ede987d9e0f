"""The ledger balances, and what everybody has is what a recount of what they did gives, by the rules."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any
from uuid import UUID

from contracts.orders import ReviewPosted
from services.points.audit import check_ledger as audit
from tests.simulation.installation import Installation
from tests.simulation.invariants.compare import differences, tuples
from tests.simulation.invariants.delivery import told

PARTICIPATED = "SELECT DISTINCT person_id, product_id, area_id FROM attendances WHERE status <> 'voided'"
CLAIMED = "SELECT claimant_type, claimant_id, area_id, status FROM claims WHERE status <> 'released'"
SCORES = "SELECT kind, subject_id, area_id, score FROM scores WHERE score <> 0"
COUNTED = "SELECT season, area_id, kind, score, count(*) FROM scores WHERE score > 0 GROUP BY 1, 2, 3, 4"
COUNTS = "SELECT season, area_id, kind, score, subjects FROM score_counts WHERE subjects <> 0"
OWNED = """
    SELECT owner_id, sum(balance) FROM accounts
    WHERE owner_type = 'person' AND asset = 'points' GROUP BY owner_id HAVING sum(balance) <> 0"""
SPENT = """
    SELECT person_id, sum(points) FROM redemptions WHERE status IN ('collected', 'completed') GROUP BY person_id"""
HELD = "SELECT owner_id, balance FROM accounts WHERE purpose = 'held' AND balance <> 0"
PLACED = "SELECT person_id, sum(points) FROM holds WHERE state = 'placed' GROUP BY person_id"
# Somebody has free points and a debt at once.
OWING = """
    SELECT d.owner_id FROM accounts d JOIN accounts m USING (owner_type, owner_id, asset)
    WHERE d.purpose = 'debt' AND d.balance < 0 AND m.purpose = 'main' AND m.balance > 0"""
# As migration 0001 has them: a first check-in, a claim, its completion, a star.
PARTICIPATION, CLAIM, COMPLETION, STAR = 10, 5, 10, 2
KINDS = {"member": "member_energy", "organisation": "organisation_energy"}


async def check_ledger(installation: Installation) -> list[str]:
    """The entries sum to zero, transfer by transfer, no account has the wrong sign, nobody has points and a debt."""
    async with installation.processes["points/0"].runtime.db.transaction() as session:
        found = dataclasses.asdict(await audit(session))
    del found["transfers"]
    problems = [f"ledger: {found}"] if any(found.values()) else []
    problems += [f"{owner} has points and a debt" for owner in await tuples(installation, "points", OWING)]
    return problems + differences("held points", await _sums(installation, PLACED), await _sums(installation, HELD))


async def check_recount(installation: Installation) -> list[str]:
    """Every score, every count of scores and every balance."""
    paths = {row["id"]: row["path"] for row in await installation.shelf.rows("members", "SELECT id, path FROM areas")}
    scores: Counter[tuple[Any, ...]] = Counter()
    owned: Counter[Any] = Counter()
    for kind, subject, area, amount in await _deeds(installation):
        owned[subject] += amount if kind == "member_points" else 0
        for part in paths[area]:
            scores[kind, subject, part] += amount
    for person, points in await tuples(installation, "orders", SPENT):
        owned[person] -= points
    expected = [(*key, score) for key, score in scores.items() if score]
    return [
        *differences("scores", expected, await tuples(installation, "points", SCORES)),
        *differences("counts of scores", *[await tuples(installation, "points", q) for q in (COUNTED, COUNTS)]),
        *differences("points", [p for p in owned.items() if p[1]], await tuples(installation, "points", OWNED)),
    ]


async def _deeds(installation: Installation) -> list[tuple[str, UUID, UUID, int]]:
    """Kind of score, subject, area and amount of everything that is worth something."""
    deeds: list[tuple[str, UUID, UUID, int]] = []
    for person, _, area in await tuples(installation, "orders", PARTICIPATED):
        deeds += [(kind, person, area, PARTICIPATION) for kind in ("member_points", "member_energy")]
    for claimant_type, claimant, area, status in await tuples(installation, "orders", CLAIMED):
        worth = CLAIM + (COMPLETION if status == "completed" else 0)
        deeds.append((KINDS[claimant_type], claimant, area, worth))
    for fact in (envelope.data for envelope in told(installation)):
        if isinstance(fact, ReviewPosted) and fact.claimant_type and fact.claimant_id:
            deeds.append((KINDS[fact.claimant_type], fact.claimant_id, fact.area_id, STAR * fact.stars))
    return deeds


async def _sums(installation: Installation, query: str) -> list[tuple[Any, ...]]:
    return await tuples(installation, "points", query)
