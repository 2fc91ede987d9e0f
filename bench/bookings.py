"""Bookings of one seat each over many sessions, each by another person, committed with their facts."""

from __future__ import annotations

from uuid import uuid4

import asyncpg

from bench.claims import CLIENTS, WINDOW_S
from bench.figures import Figure, Untrue
from bench.stage import Stage, known_id
from bench.tools import SQL, Load, pgbench, request_bytes, wrk
from chassis.api import PREFIX

SESSIONS = 5_000
PER_WINDOW = 20_000


async def measure(stage: Stage) -> list[Figure]:
    """Through the gateway, against one transaction a booking; relay and consumers at rest."""
    await fill(stage)
    url = stage.superuser_url("orders")
    variables = {"sessions": SESSIONS}
    alone = pgbench(url, SQL / "booking.sql", clients=CLIENTS, seconds=WINDOW_S, variables=variables)
    with stage.parts("orders", bus=False) as parts:
        await book(stage, parts["gateway"].url, seconds=2)
        load = await book(stage, parts["gateway"].url)
    limit_is = f"pgbench, one transaction a booking, {CLIENTS} clients"
    name = f"bookings over {SESSIONS:,} sessions, through the gateway"
    return [Figure(name, load.per_s, "1/s", alone, limit_is, "≥ 0.1"), Figure(f"{name}, p99", load.p99_ms, "ms")]


async def fill(stage: Stage) -> None:
    """The sessions of one product, with room for everybody."""
    async with stage.connected("orders") as connection:
        await connection.execute(
            "INSERT INTO product_offers (product_id, area_id, title, open, sequence)"
            " VALUES ($1, $2, '社区书法课', true, 1) ON CONFLICT DO NOTHING",
            known_id("product"),
            known_id("area"),
        )
        await connection.execute(
            "INSERT INTO session_offers (session_id, product_id, area_id, title, starts_at, ends_at, book_until, venue,"
            " confirmation, status, seat_total, seat_limit, sequence)"
            " SELECT md5('session' || n)::uuid, $1, $2, '社区书法课', now() + interval '7 days',"
            " now() + interval '7 days 2 hours', now() + interval '6 days', '活动室', 'automatic', 'scheduled',"
            " 100000, 100000, 1 FROM generate_series(1, $3::int) AS n ON CONFLICT DO NOTHING",
            known_id("product"),
            known_id("area"),
            SESSIONS,
        )
        await connection.execute("VACUUM ANALYZE session_offers")


async def book(stage: Stage, url: str, *, seconds: int = WINDOW_S) -> Load:
    """One window of bookings; Untrue when an answer did not commit with its fact."""
    before = await _count(stage)
    people = range(1, PER_WINDOW * seconds // WINDOW_S + 1)
    requests = (
        request_bytes(
            "POST",
            url,
            f"{PREFIX}/sessions/{known_id(f'session{number % SESSIONS + 1}')}/bookings",
            token=token,
            key=uuid4().hex,
            body=b'{"seats": 1}',
        )
        for number, token in zip(people, stage.fresh_tokens(len(people)), strict=True)
    )
    load = wrk(url, requests, stage.folder, clients=CLIENTS, seconds=seconds, once=True)
    bookings, facts = (now - then for now, then in zip(await _count(stage), before, strict=True))
    if load.refused or load.broken or not load.answered <= bookings <= load.answered + CLIENTS or facts != bookings:
        raise Untrue(f"{load}, {bookings} bookings, {facts} facts")
    return load


async def _count(stage: Stage) -> tuple[int, int]:
    """All bookings and all facts that are not sent yet, once nothing changes any more."""
    async with stage.connected("orders") as connection:
        seen: asyncpg.Record | None = None
        while True:
            (now,) = await connection.fetch(
                "SELECT (SELECT count(*) FROM bookings) AS bookings, (SELECT count(*) FROM outbox) AS facts"
            )
            if now == seen:
                return now["bookings"], now["facts"]
            seen = now
            await stage.pause(0.3)
