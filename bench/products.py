"""Products, as many as wanted: in every one of them the common word, in `RARE` of them the rare one."""

from __future__ import annotations

from uuid import UUID

from bench.stage import Stage, known_id

COMMON, RARE = "邻里", "琴谱"
RARE_MATCHES = 20

_INSERT = """
    INSERT INTO products (id, area_id, area_path, category_id, organisation_id, need_id, kind, title, title_en, summary,
      status, tier, claim_policy, claimants, claim_capacity, lease_hours, created_by, created_at, published_at, version,
      search, claims_active, claims_completed, participants, reviews, stars_sum)
    SELECT md5('product' || n)::uuid, $1, ARRAY[md5('level0')::uuid, md5('level1')::uuid, $1], NULL,
      md5('organisation' || n % 50)::uuid, NULL, 'project', '邻里互助第' || n || '号', 'Neighbours help ' || n,
      repeat('为社区居民提供上门服务，请提前预约。', 8), 'published', NULL, 'first_come', 'both', 5, 72,
      md5('person1')::uuid, now(), now(), 1,
      array_to_tsvector(ARRAY['邻', '里', '邻里', '互', '助', '互助', '里互', '社区', '号', n::text, 'w' || n % 5000]
        || CASE WHEN n % ($3::int / 20) = 0 THEN ARRAY['琴', '谱', '琴谱'] ELSE ARRAY[]::text[] END),
      1, 0, 0, 1, 5
    FROM generate_series($2::int, $3::int) AS n
"""


async def fill(stage: Stage, count: int) -> None:
    """So many products in all, offered by 50 organisations and each claimed by one."""
    async with stage.connected("catalog") as connection:
        await connection.execute("TRUNCATE products, organisations, claims_seen CASCADE")
        await connection.execute(_INSERT, known_id("area"), 1, count)
        await connection.execute(
            "INSERT INTO organisations (id, name, sequence)"
            " SELECT md5('organisation' || n)::uuid, '社区志愿服务队' || n, 1 FROM generate_series(0, 49) AS n"
        )
        await connection.execute(
            "INSERT INTO claims_seen (id, product_id, organisation_id, state, sequence)"
            " SELECT md5('claim' || n)::uuid, md5('product' || n)::uuid, md5('organisation' || (n + 7) % 50)::uuid,"
            " 'active', 1 FROM generate_series(1, $1::int) AS n",
            count,
        )
        await connection.execute("VACUUM ANALYZE")


def product_id(number: int) -> UUID:
    return known_id(f"product{number}")
