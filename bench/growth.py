"""How the cost of single steps grows with what is there already: products, members, claims, facts not sent yet."""

from __future__ import annotations

import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from uuid import UUID, uuid4

from bench import claims, products
from bench.figures import Figure, Untrue, growth
from bench.stage import Stage, known_id, person
from chassis.api import PageRequest
from chassis.db import Database
from chassis.errors import Refusal
from chassis.idempotency import IdempotencyKey
from chassis.world import World
from services.catalog.product_lists import SHOWN, ProductFilter, list_products
from services.orders.claim_views import Claimant
from services.orders.claims import ClaimRequest, accept_claims
from services.points.scores import rank_of, top

PRODUCTS = (5_000, 500_000)
MEMBERS = (10_000, 1_000_000)
CLAIMS = (1_000, 1_000_000)
BACKLOG = 100_000
TIMES = 300
COMMON_TIMES = 20
SEASON = 2026


async def measure(stage: Stage) -> list[Figure]:
    """Each step in this process, from Python to PostgreSQL and back; the median of many."""
    return [*await search(stage), *await ranks(stage), *await one_claim(stage)]


async def search(stage: Stage) -> list[Figure]:
    rare, common = [], []
    for count in PRODUCTS:
        await products.fill(stage, count)
        async with _database(stage, "catalog") as db:
            rare.append(await _median_ms(lambda: _search(db, products.RARE, products.RARE_MATCHES)))
            common.append(await _median_ms(lambda: _search(db, products.COMMON, PageRequest().limit), COMMON_TIMES))
    few, many = PRODUCTS
    return [
        growth(f"search, {products.RARE_MATCHES} matches among {many:,}", rare, "ms", f"among {few:,}", "≤ 1.5"),
        growth(f"search for what all {many:,} have", common, "ms", f"all {few:,}"),
    ]


async def _search(db: Database, words: str, expected: int) -> None:
    wanted = ProductFilter(None, None, None, None, SHOWN, words)
    rows, _ = await list_products(db, None, wanted, PageRequest())
    if len(rows) != expected:
        raise Untrue(f"{len(rows)} products found by {words}, not {expected}")


async def ranks(stage: Stage) -> list[Figure]:
    rank, page = [], []
    area_id = known_id("area")
    for count in MEMBERS:
        async with stage.connected("points") as connection:
            await connection.execute("TRUNCATE scores, score_counts")
            await connection.execute(
                "INSERT INTO scores (season, area_id, kind, subject_id, score, reached_at)"
                " SELECT $1, $2, 'member_points', md5('person' || n)::uuid,"
                " 10 * (1 + floor(500 * power(random(), 3)))::int, now() FROM generate_series(1, $3::int) AS n",
                SEASON, area_id, count,
            )  # fmt: skip
            await connection.execute("VACUUM ANALYZE scores, score_counts")
        async with _database(stage, "points") as db:
            rank_it, page_it = partial(_rank, db, area_id, person(count // 2)), partial(_page, db, area_id)
            rank.append(await _median_ms(rank_it))
            page.append(await _median_ms(page_it))
    few, many = MEMBERS
    return [
        growth(f"rank of one member among {many:,}", rank, "ms", f"among {few:,}", "≤ 1.5"),
        growth(f"a page of the leaderboard of {many:,}", page, "ms", f"of {few:,}", "≤ 1.5"),
    ]


async def _rank(db: Database, area_id: UUID, member: UUID) -> None:
    async with db.transaction() as session:
        if await rank_of(session, SEASON, area_id, "member_points", member) is None:
            raise Untrue("a member without a rank")


async def _page(db: Database, area_id: UUID) -> None:
    async with db.transaction() as session:
        if len(await top(session, SEASON, area_id, "member_points", PageRequest().limit)) != PageRequest().limit:
            raise Untrue("a leaderboard that is not full")


async def one_claim(stage: Stage) -> list[Figure]:
    await claims.fill(stage)
    product_id = await claims.offer(stage)
    earlier, waiting = [], []
    people = iter(range(1, claims.PEOPLE))
    async with _database(stage, "orders") as db, stage.connected("orders") as connection:
        await connection.execute("TRUNCATE claims, outbox, idempotency_keys CASCADE")

        async def claim() -> None:
            async with db.transaction() as session:
                answers = await accept_claims(session, [_request(product_id, next(people))])
            if isinstance(answers[0], Refusal):
                raise Untrue(repr(answers[0]))

        for count in CLAIMS:
            await connection.execute(
                "INSERT INTO claims (id, product_id, area_id, title, claimant_type, claimant_id, person_id, status,"
                " lease_until, created_at, version)"
                " SELECT gen_random_uuid(), $1, $2, '为独居老人送餐', 'organisation', gen_random_uuid(),"
                " gen_random_uuid(), 'accepted', now(), now(), 1 FROM generate_series(1, $3::int)",
                product_id, known_id("area"), count - sum(CLAIMS[: CLAIMS.index(count)]),
            )  # fmt: skip
            await connection.execute("VACUUM ANALYZE claims")
            earlier.append(await _median_ms(claim))
        for count in (0, BACKLOG):
            await connection.execute("TRUNCATE outbox")
            await connection.execute(
                "INSERT INTO outbox (event_id, routing_key, document, next_at)"
                " SELECT gen_random_uuid(), 'orders.claim_accepted.v1', repeat('x', 700), now()"
                " FROM generate_series(1, $1::int)",
                count,
            )
            await connection.execute("VACUUM ANALYZE outbox")
            waiting.append(await _median_ms(claim))
    few, many = CLAIMS
    return [
        growth(f"one claim after {many:,} on the product", earlier, "ms", f"after {few:,}", "≤ 1.2"),
        growth(f"one claim with {BACKLOG:,} facts not sent", waiting, "ms", "with none", "≤ 1.2"),
    ]


def _request(product_id: UUID, number: int) -> ClaimRequest:
    claimant = person(number)
    key = IdempotencyKey(claimant, "POST /products/{product_id}/claims", uuid4().hex, uuid4().hex)
    return ClaimRequest(product_id, Claimant(type="member", id=claimant), claimant, key)


@asynccontextmanager
async def _database(stage: Stage, service: str) -> AsyncIterator[Database]:
    db = Database(stage.urls[service], World(), pool_size=1)
    try:
        yield db
    finally:
        await db.close()


async def _median_ms(act: Callable[[], Awaitable[None]], times: int = TIMES) -> float:
    for _ in range(min(times, 20)):
        await act()
    took = []
    for _ in range(times):
        began = time.perf_counter()
        await act()
        took.append(time.perf_counter() - began)
    return statistics.median(took) * 1000
