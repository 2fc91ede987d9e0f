"""The catalog's pages: a list of twenty products and a single one, through the gateway."""

from __future__ import annotations

from bench import products
from bench.figures import Figure
from bench.sql_of import captured, script
from bench.stage import Stage
from bench.tools import pgbench, request_bytes, wrk
from chassis.api import PAGE_DEFAULT, PREFIX, PageRequest
from chassis.db import Database
from chassis.world import World
from services.catalog.product_lists import SHOWN, ProductFilter, list_products, show_product

CLIENTS = 64
WINDOW_S = 6
PRODUCTS = 5_000
EVERYTHING = ProductFilter(None, None, None, None, SHOWN, None)


async def measure(stage: Stage) -> list[Figure]:
    """Against the same SQL by pgbench alone."""
    await products.fill(stage, PRODUCTS)
    page_sql, product_sql = await _statements(stage)
    database = stage.superuser_url("catalog")
    page_alone = pgbench(database, script(page_sql, stage.folder), clients=CLIENTS, seconds=WINDOW_S)
    one = script(
        product_sql,
        stage.folder,
        replace=products.product_id(1),
        by="md5('product' || :n)",
        head=f"\\set n random(1, {PRODUCTS})",
    )
    product_alone = pgbench(database, one, clients=CLIENTS, seconds=WINDOW_S)
    with stage.parts("catalog", bus=False) as parts:
        url = parts["gateway"].url
        pages = [request_bytes("GET", url, f"{PREFIX}/products?limit={PAGE_DEFAULT}")] * 2
        details = [
            request_bytes("GET", url, f"{PREFIX}/products/{products.product_id(n)}") for n in range(1, PRODUCTS + 1)
        ]
        for requests in (pages, details):
            wrk(url, requests, stage.folder, clients=CLIENTS, seconds=1)
        page = wrk(url, pages, stage.folder, clients=CLIENTS, seconds=WINDOW_S).all_answered()
        detail = wrk(url, details, stage.folder, clients=CLIENTS, seconds=WINDOW_S).all_answered()
    limit_is = f"pgbench, the same SQL, {CLIENTS} clients"
    return [
        Figure(
            f"catalog pages of {PAGE_DEFAULT}, through the gateway", page.per_s, "1/s", page_alone, limit_is, "≥ 0.06"
        ),
        Figure("product details, through the gateway", detail.per_s, "1/s", product_alone, limit_is, "≥ 0.03"),
    ]


async def _statements(stage: Stage) -> tuple[str, str]:
    """What the two pages ask the database."""
    db = Database(stage.urls["catalog"], World(), pool_size=1)
    try:
        async with captured(db) as statements:
            await list_products(db, None, EVERYTHING, PageRequest())
            await show_product(db, None, products.product_id(1))
        page, product = [one for one in statements if "products" in one]
        return page, product
    finally:
        await db.close()
