"""Claims on one product: each by another person with a token of their own, committed with their facts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from uuid import UUID, uuid4

from bench.figures import Figure, Untrue
from bench.stage import Stage, known_id, person
from bench.tools import SQL, Load, pgbench, request_bytes, wrk
from chassis.api import PREFIX

CLIENTS = 64
WINDOW_S = 8
# More than are claimed in a window.
PEOPLE = 60_000
PER_WINDOW = 30_000


async def measure(stage: Stage) -> list[Figure]:
    """Through the gateway and direct to orders, against one transaction a claim; relay and consumers at rest."""
    await fill(stage)
    alone = await _pgbench(stage, CLIENTS)
    fewest = await _pgbench(stage, CLIENTS, "claim_fewest.sql")
    fewest_16 = await _pgbench(stage, 16, "claim_fewest.sql")
    with stage.parts("orders", bus=False) as parts:
        await claim(stage, parts["gateway"].url, seconds=2)
        through = await claim(stage, parts["gateway"].url)
        direct = await claim(stage, parts["orders"].url)
    alone = (alone + await _pgbench(stage, CLIENTS)) / 2
    await stage.begin_anew()
    with stage.parts("orders", "catalog", "points", "notify") as parts:
        await claim(stage, parts["gateway"].url, seconds=2, at_rest=False)
        whole = await claim(stage, parts["gateway"].url, at_rest=False)
    limit_is = f"pgbench, the same SQL, one transaction a claim, {CLIENTS} clients"
    fewest_is = f"pgbench, the fewest statements, one transaction a claim, {CLIENTS} clients"
    return [
        Figure("claims, through the gateway", through.per_s, "1/s", alone, limit_is, "≥ 1.2"),
        Figure("claims, direct to orders", direct.per_s, "1/s", alone, limit_is, "≥ 1.5"),
        Figure("claims, with relay and all consumers running", whole.per_s, "1/s", alone, limit_is),
        Figure("claims, through the gateway, p99", through.p99_ms, "ms"),
        Figure("claims, through the gateway, beside the fewest statements", through.per_s, "1/s", fewest, fewest_is),
        Figure("pgbench, the fewest statements, 16 clients", fewest_16, "1/s"),
    ]


async def fill(stage: Stage) -> None:
    """Every person registered with one area."""
    async with stage.connected("orders") as connection:
        await connection.execute(
            "INSERT INTO registrations (registration_id, subject, person_id, area_id, status, sequence)"
            " SELECT md5('registration' || n)::uuid, 'person', md5('person' || n)::uuid, $1, 'active', 1"
            " FROM generate_series(1, $2::int) AS n ON CONFLICT DO NOTHING",
            known_id("area"),
            PEOPLE,
        )
        await connection.execute("VACUUM ANALYZE registrations")


async def offer(stage: Stage) -> UUID:
    """A product that everybody may claim."""
    product_id = uuid4()
    async with stage.connected("orders") as connection:
        await connection.execute(
            "INSERT INTO product_offers (product_id, area_id, title, claim_policy, claimants, lease_hours, open,"
            " claim_total, claim_limit, sequence)"
            " VALUES ($1, $2, '为独居老人送餐', 'first_come', 'both', 72, true, 1000000, 1000000, 1)",
            product_id,
            known_id("area"),
        )
    return product_id


async def claim(stage: Stage, url: str, *, seconds: int = WINDOW_S, at_rest: bool = True) -> Load:
    """One window of claims on a new product; Untrue when an answer did not commit, or (at rest) its fact."""
    product_id = await offer(stage)
    load = wrk(
        url, _requests(stage, url, product_id, seconds), stage.folder, clients=CLIENTS, seconds=seconds, once=True
    )
    claims, facts = await _count(stage, product_id)
    if load.refused or load.broken or not load.answered <= claims <= load.answered + CLIENTS:
        raise Untrue(f"{load}, and {claims} claims")
    if at_rest and facts != claims:
        raise Untrue(f"{claims} claims, {facts} facts")
    return load


def _requests(stage: Stage, url: str, product_id: UUID, seconds: int) -> Iterator[bytes]:
    people = range(1, PER_WINDOW * seconds // WINDOW_S + 1)
    for number, token in zip(people, stage.tokens(people), strict=True):
        body = json.dumps({"claimant": {"type": "member", "id": str(person(number))}}).encode()
        path = f"{PREFIX}/products/{product_id}/claims"
        yield request_bytes("POST", url, path, token=token, key=uuid4().hex, body=body)


async def _pgbench(stage: Stage, clients: int, script: str = "claim.sql") -> float:
    product_id = await offer(stage)
    return pgbench(
        stage.superuser_url("orders"),
        SQL / script,
        clients=clients,
        seconds=WINDOW_S,
        variables={"product": product_id, "people": PEOPLE},
    )


async def _count(stage: Stage, product_id: UUID) -> tuple[int, int]:
    """The product's claims, and the facts about it that are not sent yet, at one moment."""
    async with stage.connected("orders") as connection:
        (found,) = await connection.fetch(
            "SELECT (SELECT count(*) FROM claims WHERE product_id = $1) AS claims,"
            " (SELECT count(*) FROM outbox WHERE document LIKE '%' || $1::text || '%') AS facts",
            product_id,
        )
    return found["claims"], found["facts"]
