"""Every copy equals its original at its highest version, and every counter equals a recount of the originals."""

from __future__ import annotations

from deploy.services import SERVICES
from tests.simulation.installation import Installation
from tests.simulation.invariants.compare import differences, tuples

# The original and its copy: a service and a query each.
COPIES = {
    "products on offer": (
        "catalog",
        "SELECT id, title, claim_policy, claimants, claim_capacity, lease_hours, version FROM products"
        " WHERE status IN ('published', 'completed')",
        "orders",
        "SELECT product_id, title, claim_policy, claimants, claim_total, lease_hours, sequence FROM product_offers"
        " WHERE open",
    ),
    "sessions": (
        "catalog",
        "SELECT id, status, version FROM sessions",
        "orders",
        "SELECT session_id, status, sequence FROM session_offers",
    ),
    "sessions that take place": (
        "catalog",
        "SELECT id, starts_at, ends_at, book_until, capacity, confirmation FROM sessions WHERE status = 'scheduled'",
        "orders",
        "SELECT session_id, starts_at, ends_at, book_until, seat_total, confirmation FROM session_offers"
        " WHERE status = 'scheduled'",
    ),
    "rewards": (
        "catalog",
        "SELECT r.id, s.centre_id, r.cost_points, s.total, r.version FROM rewards r"
        " JOIN reward_stock s ON s.reward_id = r.id",
        "orders",
        "SELECT reward_id, centre_id, cost_points, stock_total, sequence FROM reward_offers",
    ),
    "registrations": (
        "members",
        "SELECT id, person_id, area_id, status, version FROM registrations",
        "orders",
        "SELECT registration_id, person_id, area_id, status, sequence FROM registrations",
    ),
    "memberships": (
        "members",
        "SELECT id, person_id, version FROM memberships WHERE status = 'confirmed'",
        "orders",
        "SELECT membership_id, person_id, sequence FROM memberships",
    ),
    "languages": ("members", "SELECT id, locale FROM people", "notify", "SELECT id, locale FROM people"),
    "claims": (
        "orders",
        "SELECT id, CASE WHEN status IN ('accepted', 'signed') THEN 'active' ELSE status END, version FROM claims",
        "catalog",
        "SELECT id, state, sequence FROM claims_seen",
    ),
    "bookings": (
        "orders",
        "SELECT id, CASE status WHEN 'cancelled' THEN 0 ELSE seats END, version FROM bookings"
        " WHERE status <> 'waitlisted'",
        "catalog",
        "SELECT id, seats, sequence FROM bookings_seen",
    ),
    "attendances": (
        "orders",
        "SELECT id, status = 'voided', version FROM attendances",
        "catalog",
        "SELECT id, voided, sequence FROM attendances_seen",
    ),
    "attendances for points": (
        "orders",
        "SELECT id, status = 'voided', true FROM attendances",
        "points",
        "SELECT id, voided, fact IS NOT NULL FROM attendances",
    ),
    "released claims": (
        "orders",
        "SELECT id FROM claims WHERE status = 'released'",
        "points",
        "SELECT claim_id FROM released_claims",
    ),
    "reviews": ("orders", "SELECT id, stars FROM reviews", "catalog", "SELECT id, stars FROM reviews_seen"),
    "seats on the session's page": (
        "orders",
        "SELECT session_id, seats_taken FROM session_offers",
        "catalog",
        "SELECT id, seats_taken FROM sessions",
    ),
    "claims on the product's page": (
        "orders",
        "SELECT product_id, count(*) FILTER (WHERE status IN ('accepted', 'signed')),"
        " count(*) FILTER (WHERE status = 'completed') FROM claims WHERE status <> 'released' GROUP BY product_id",
        "catalog",
        "SELECT id, claims_active, claims_completed FROM products WHERE claims_active + claims_completed > 0",
    ),
    "participants on the product's page": (
        "orders",
        "SELECT product_id, count(DISTINCT person_id) FROM attendances WHERE status <> 'voided' GROUP BY 1",
        "catalog",
        "SELECT id, participants FROM products WHERE participants > 0",
    ),
    "reviews on the product's page": (
        "orders",
        "SELECT product_id, count(*), sum(stars) FROM reviews GROUP BY product_id",
        "catalog",
        "SELECT id, reviews, stars_sum FROM products WHERE reviews > 0",
    ),
    "completed products": (
        "catalog",
        "SELECT id FROM products WHERE claim_policy <> 'none' AND claims_completed >= claim_capacity"
        " AND status IN ('published', 'completed')",
        "catalog",
        "SELECT id FROM products WHERE status = 'completed'",
    ),
    "fulfilled needs": (
        "catalog",
        "SELECT n.id FROM needs n JOIN products p ON p.id = n.product_id WHERE p.claims_completed > 0",
        "catalog",
        "SELECT id FROM needs WHERE status = 'fulfilled'",
    ),
}
REVOKED = "SELECT person_id FROM roles WHERE revoked_at IS NOT NULL"
REFUSED = "SELECT subject_id FROM token_cutoffs"


async def check(installation: Installation) -> list[str]:
    """Each copy against its original, and every service's tree of areas against that of members."""
    problems = []
    for what, (owner, original, listener, copy) in COPIES.items():
        expected = await tuples(installation, owner, original)
        problems += differences(f"{listener}: {what}", expected, await tuples(installation, listener, copy))
    areas = _hashable(await tuples(installation, "members", "SELECT id, path, version FROM areas"))
    for service in SERVICES:
        known = _hashable(await tuples(installation, service.name, "SELECT id, path, sequence FROM scopes"))
        problems += differences(f"{service.name}: areas", areas, known)
    return problems


async def check_cutoffs(installation: Installation) -> list[str]:
    """Who lost a role is refused with older tokens, everywhere."""
    people = {person for (person,) in await tuples(installation, "members", REVOKED)}
    problems = []
    for service in SERVICES:
        refused = {subject for (subject,) in await tuples(installation, service.name, REFUSED)}
        if people - refused:
            problems.append(f"{service.name}: old tokens of {people - refused} are still good")
    return problems


def _hashable(rows: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
    return [tuple(tuple(value) if isinstance(value, list) else value for value in row) for row in rows]
