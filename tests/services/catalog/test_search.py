"""Search: what was written is found by its parts, and nothing that is asked breaks the database."""

from __future__ import annotations

import string
import unicodedata
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from services.catalog.product_lists import NEWEST_SEARCHED
from services.catalog.search import lexemes, matches, tsquery, vector
from tests.harness import Person, ServiceUnderTest, operator
from tests.services.catalog.stories import post_need, post_product

HAN = st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF) | st.sampled_from("\U00020000\U0002a6dfかなカナ々〇")
MIXED = st.text(HAN | st.sampled_from(string.printable.replace("\x00", "") + "，。！'\\&|:*()é"), max_size=40)
MANY = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
async def connection(server_url: str) -> AsyncIterator[AsyncConnection]:
    engine = create_async_engine(server_url, isolation_level="AUTOCOMMIT")
    async with engine.connect() as opened:
        yield opened
    await engine.dispose()


async def finds(connection: AsyncConnection, text: str, asked: str) -> bool:
    """Whether PostgreSQL finds the text by what is asked."""
    texts = select(vector(text).label("search")).subquery()
    found = await connection.scalar(select(func.count()).select_from(texts).where(matches(texts.c.search, asked)))
    return found == 1


@MANY
@given(text=MIXED, pair=st.text(HAN, min_size=1, max_size=3), rest=MIXED)
async def test_every_run_of_chinese_characters_finds_the_text_it_is_in(connection, text, pair, rest):
    assert await finds(connection, text + pair + rest, pair)


@MANY
@given(text=st.text(max_size=60), asked=st.text(max_size=60))
async def test_whatever_is_written_and_asked_postgresql_answers(connection, text, asked):
    text, asked = text.encode("utf-8", "replace").decode(), asked.encode("utf-8", "replace").decode()
    assert await finds(connection, text, asked) in (True, False)


@MANY
@given(text=st.text(max_size=60))
async def test_a_text_with_letters_finds_itself(connection, text):
    assert await finds(connection, text, text) == (tsquery(text) is not None)


@MANY
@given(word=st.text(string.ascii_letters + string.digits, min_size=2, max_size=80), cut=st.integers(1, 80))
async def test_a_word_is_found_by_its_beginning_in_either_case(connection, word, cut):
    assert await finds(connection, f"见 {word}, 等", word[:cut].swapcase())


@MANY
@given(text=st.text(HAN, max_size=30), other=st.text(HAN, min_size=2, max_size=2))
async def test_two_characters_find_only_texts_that_have_them_side_by_side(connection, text, other):
    assert await finds(connection, text, other) == (other in text)


@given(text=st.text())
def test_every_lexeme_is_one_that_postgresql_takes(text):
    assert all(0 < len(lexeme.encode()) <= 2046 for lexeme in lexemes(text))


async def test_very_long_words_are_found_by_their_beginning(connection):
    word = "é" * 1_900
    assert await finds(connection, word, word)
    assert await finds(connection, word, "ÉÉ")


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("认领", True),
        ("领认", False),
        ("领", True),
        ("认领 DNA", True),
        ("dn", True),
        ("na", False),
        ("ＤＮＡ", True),
        ("认领，基因!", True),
        ("认领 没有", False),
        ("……!?'\\", False),
    ],
)
async def test_all_parts_of_a_query_have_to_be_there(connection, asked, found):
    assert await finds(connection, "项目认领：慧眼识“基因”（DNA）", asked) == found


def test_the_query_is_quoted_in_postgresqls_notation():
    assert tsquery("青春快线 S1") == "'青春' & '春快' & '快线' & 's1':*"
    assert tsquery("'&|!:*") is None


def test_compatibility_forms_are_the_same_characters():
    assert unicodedata.normalize("NFKC", "㍿") == "株式会社"
    assert set(lexemes("㍿")) == set(lexemes("株式会社"))


async def test_products_are_found_by_title_english_title_and_summary(catalog: ServiceUnderTest):
    area = await catalog.add_area()
    gene = await post_product(catalog, area, title_en="Genes, understood")
    await post_product(catalog, area, title="夏送清凉", summary="给户外工作者送水。")
    for asked in ("基因", "因", "专家", "gene", "UNDER 基因", " 基因 "):
        listed = (await catalog.get("/products", params={"q": asked})).json()
        assert [item["id"] for item in listed["items"]] == [gene["id"]], asked
    assert (await catalog.get("/products", params={"q": "！？"})).json()["items"] == []
    assert len((await catalog.get("/products", params={"q": " "})).json()["items"]) == 2


async def test_needs_are_found_by_title_and_body(catalog: ServiceUnderTest):
    area = await catalog.add_area()
    need = await post_need(catalog, area, Person())
    for asked in ("转基因", "懂行"):
        assert [item["id"] for item in (await catalog.get(f"/needs?q={asked}")).json()["items"]] == [need["id"]]
    assert (await catalog.get("/needs?q=没有")).json()["items"] == []
    assert (await catalog.get("/needs?q=%27%5C%26")).json()["items"] == []


async def test_a_changed_product_is_found_by_its_new_words_only(catalog: ServiceUnderTest):
    product = await post_product(catalog, await catalog.add_area())
    await catalog.patch(f"/products/{product['id']}", person=operator(), json={"title": "心灵守护"})
    assert len((await catalog.get("/products?q=心灵")).json()["items"]) == 1
    assert (await catalog.get("/products?q=慧眼")).json()["items"] == []


async def add_newer(catalog: ServiceUnderTest, count: int) -> None:
    """As many newer products as that, each a copy of the one that is there already."""
    async with catalog.db.transaction() as session:
        copied = "jsonb_populate_record(products, jsonb_build_object('id', lpad(n::text, 32, 'f')))"
        series = f"FROM products CROSS JOIN generate_series(1, {count}) AS n"
        await session.execute(text(f"INSERT INTO products SELECT ({copied}).* {series}"))


async def test_what_few_have_is_found_behind_many_newer_products(catalog: ServiceUnderTest):
    here, there = await catalog.add_area(), await catalog.add_area()
    await post_product(catalog, here)
    await add_newer(catalog, 2 * NEWEST_SEARCHED)
    rare: dict[str, Any] = {"title": "稀有", "summary": "给户外工作者送水。"}
    first, second = await post_product(catalog, here, **rare), await post_product(catalog, there, **rare)
    draft = await post_product(catalog, here, **rare, publish=False)

    async def found(person: Person | None = None, **query: object) -> list[list[str]]:
        pages: list[list[str]] = []
        while not pages or query["cursor"]:
            answer = (await catalog.get("/products", params={"q": "稀有", **query}, person=person)).json()
            pages.append([item["id"] for item in answer["items"]])
            query["cursor"] = answer["next_cursor"]
        return pages

    assert await found() == [[second["id"], first["id"]]]
    assert await found(limit=1) == [[second["id"]], [first["id"]]]
    assert await found(area_id=here) == [[first["id"]]]
    assert await found(status="any", person=operator()) == [[draft["id"], second["id"], first["id"]]]
    assert await found(status="any") == [[second["id"], first["id"]]]
    assert await found(kind="venue") == [[]]
    every = await found(q="基因", limit=100)
    assert [len(page) for page in every] == [100] * (NEWEST_SEARCHED // 50) + [1]
