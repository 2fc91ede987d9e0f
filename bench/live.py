"""How soon a claimant sees what follows from a claim, and what it costs the gateway to keep streams open."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from uuid import UUID, uuid4

import aiohttp
import asyncpg

from bench import claims
from bench.figures import Figure, Untrue
from bench.parts import memory_mb
from bench.stage import Stage, known_id, person
from chassis.api import PREFIX

CLAIMS_PER_S = 100
CLAIMANTS = 100
SECONDS = 15
ARRIVAL_TIMEOUT_S = 30
STREAMS = 1_000

# What of a claim has to be seen: (claimant, title) with the kind of the item on the stream.
Seen = tuple[int, str, str]


async def measure(stage: Stage) -> list[Figure]:
    """All five services and the broker between them; every claimant reads a stream."""
    await claims.fill(stage)
    await stage.begin_anew()
    titles = [f"项目{number:03}" for number in range(1 + CLAIMS_PER_S * SECONDS // CLAIMANTS)]
    async with stage.connected("orders") as orders:
        products = [await _offer(orders, title) for title in titles]
    with stage.parts("catalog", "orders", "points", "notify") as parts:
        url = parts["gateway"].url
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, read_bufsize=2**12) as client:
            delays = await _delays(stage, client, url, list(zip(titles, products, strict=True)))
            gateway = parts["gateway"].pid
            before = memory_mb(gateway)
            tokens = stage.tokens(range(1, STREAMS + 1))
            streams = [await _open(client, url, token) for token in tokens]
            await stage.pause(2)
            grown = memory_mb(gateway) - before
            for stream in streams:
                stream.close()
    delays.sort()
    return [
        Figure(
            f"claim answered → points and message on the stream, at {CLAIMS_PER_S} claims/s, p99",
            delays[len(delays) * 99 // 100] * 1000, "ms", reach="≤ 500",
        ),
        Figure("the same, median", delays[len(delays) // 2] * 1000, "ms"),
        Figure(f"memory of {STREAMS:,} live streams in the gateway", grown, "MB", reach="≤ 60"),
    ]  # fmt: skip


async def _offer(orders: asyncpg.Connection, title: str) -> UUID:
    product_id = uuid4()
    await orders.execute(
        "INSERT INTO product_offers (product_id, area_id, title, claim_policy, claimants, lease_hours, open,"
        " claim_total, claim_limit, sequence) VALUES ($1, $2, $3, 'first_come', 'both', 72, true, 1000, 1000, 1)",
        product_id,
        known_id("area"),
        title,
    )
    return product_id


async def _delays(
    stage: Stage, client: aiohttp.ClientSession, url: str, products: list[tuple[str, UUID]]
) -> list[float]:
    """Per claim, the seconds from its answer to the later of message and points on the claimant's stream.

    Those of the first product are for warming up.
    """
    people = range(1, CLAIMANTS + 1)
    tokens = dict(zip(people, stage.tokens(people), strict=True))
    seen: dict[Seen, float] = {}
    answered: dict[tuple[int, str], float] = {}
    readers = [asyncio.create_task(_read(await _open(client, url, tokens[one]), one, seen)) for one in people]

    async def claim(number: int, title: str, product_id: UUID) -> None:
        headers = {"Authorization": f"Bearer {tokens[number]}", "Idempotency-Key": uuid4().hex}
        body = {"claimant": {"type": "member", "id": str(person(number))}}
        async with client.post(f"{url}{PREFIX}/products/{product_id}/claims", json=body, headers=headers) as answer:
            if answer.status != 201:
                raise Untrue(await answer.text())
            answered[number, title] = time.perf_counter()

    began = time.perf_counter()
    claiming = []
    for place, (title, product_id, number) in enumerate((*product, one) for product in products for one in people):
        await asyncio.sleep(max(0, began + place / CLAIMS_PER_S - time.perf_counter()))
        claiming.append(asyncio.create_task(claim(number, title, product_id)))
    await asyncio.gather(*claiming)
    end = time.perf_counter() + ARRIVAL_TIMEOUT_S
    while len(seen) < 2 * len(answered) and time.perf_counter() < end:
        await stage.pause(0.05)
    for reader in readers:
        reader.cancel()
    if missing := [key for key in answered for kind in ("message", "points") if (*key, kind) not in seen]:
        raise Untrue(f"{len(missing)} of {2 * len(answered)} items never came")
    counted = {key: at for key, at in answered.items() if key[1] != products[0][0]}
    return [max(seen[*key, kind] for kind in ("message", "points")) - at for key, at in counted.items()]


async def _open(client: aiohttp.ClientSession, url: str, token: str) -> aiohttp.ClientResponse:
    timeout = aiohttp.ClientTimeout(total=None)
    answer = await client.get(f"{url}{PREFIX}/me/stream", headers={"Authorization": f"Bearer {token}"}, timeout=timeout)
    if answer.status != 200:
        raise Untrue(await answer.text())
    await answer.content.readline()
    return answer


async def _read(stream: aiohttp.ClientResponse, number: int, seen: dict[Seen, float]) -> None:
    """Note when each item of interest came."""
    kind = ""
    async for line in stream.content:
        if line.startswith(b"event:"):
            kind = line[6:].strip().decode()
        elif line.startswith(b"data:") and kind in {"message", "points"}:
            for title in _titles(json.loads(line[5:])):
                seen[number, title, kind] = time.perf_counter()


def _titles(item: dict[str, str]) -> Iterator[str]:
    text = f"{item.get('title', '')}{item.get('body', '')}"
    found = text.find("项目")
    while found >= 0:
        if text[found + 2 : found + 5].isdecimal():
            yield text[found : found + 5]
        found = text.find("项目", found + 2)
