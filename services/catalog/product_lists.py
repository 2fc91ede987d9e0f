"""Products as they are found: one, or a list of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, Text, Uuid, bindparam, cast, literal_column, select
from sqlalchemy.dialects.postgresql import ARRAY, TSQUERY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from chassis.api import PageRequest, page
from chassis.db import Database
from chassis.errors import NotFound
from chassis.tokens import Principal
from contracts.catalog import ProductKind
from services.catalog.models import Product, ProductStatus
from services.catalog.product_views import SHOWN_PRODUCTS
from services.catalog.rights import seen, seen_by, sees
from services.catalog.search import tsquery

# What is on offer, and what has been achieved.
SHOWN: tuple[ProductStatus, ...] = ("published", "completed")

# A search looks among so many of the newest first: words that many products have are found there at once.
NEWEST_SEARCHED = 500

_products = Product.__table__.c
Columns = ReadOnlyColumnCollection[str, Any]
Shown = Select[*tuple[Any, ...]]


@dataclass(frozen=True)
class ProductFilter:
    """What a list of products is narrowed to; no statuses show whatever the person may see."""

    area_id: UUID | None
    category_id: UUID | None
    organisation_id: UUID | None
    kind: ProductKind | None
    statuses: Sequence[ProductStatus]
    q: str | None


async def find_product(session: AsyncSession, principal: Principal | None, product_id: UUID) -> Product:
    """The product; NotFound for one that the person may not know of."""
    product = await session.get(Product, product_id)
    if product is None or not sees(principal, product):
        raise NotFound()
    return product


async def show_product(db: Database, principal: Principal | None, product_id: UUID) -> Row[Any]:
    """The product as it is shown; NotFound for one that the person may not know of."""
    rows = await db.read(_SEEN_PRODUCT, {"id": product_id, **seen_by(principal)})
    if not rows:
        raise NotFound()
    return rows[0]


async def list_products(
    db: Database, principal: Principal | None, wanted: ProductFilter, asked: PageRequest
) -> tuple[Sequence[Row[Any]], str | None]:
    """Products as they are shown that the person may see, newest first; an area stands for its subtree."""
    words = tsquery(wanted.q) if wanted.q else None
    if wanted.q and words is None:
        return [], None
    narrowed: dict[str, object] = {
        "before": asked.after_id(),
        "area": wanted.area_id and [wanted.area_id],
        "category": wanted.category_id,
        "organisation": wanted.organisation_id,
        "words": words,
        "seen": not wanted.statuses or "draft" in wanted.statuses or None,
    }
    given = {**narrowed, **seen_by(principal), "limit": asked.limit + 1}
    names = frozenset([name for name, value in narrowed.items() if value is not None])
    names |= {*wanted.statuses, *([wanted.kind] if wanted.kind else [])}
    if words is None:
        rows = await db.read(_listed(names), given)
    else:
        rows = await db.read(_found_among_newest(names), given)
        if len(rows) <= asked.limit and await db.read(_beyond_newest(names), given):
            rows = await db.read(_found(names), given)
    return page(rows, asked.limit, lambda row: (row.id,))


def _conditions(of: Columns, names: frozenset[str]) -> list[ColumnElement[bool]]:
    """The conditions of these names, statuses and kinds among them, on a product's columns."""
    every: dict[str, ColumnElement[bool]] = {
        "before": of.id < bindparam("before"),
        "area": of.area_path.contains(bindparam("area", type_=ARRAY(Uuid))),
        "category": of.category_id == bindparam("category"),
        "organisation": of.organisation_id == bindparam("organisation"),
        "seen": seen(of),
    }
    conditions = [condition for name, condition in every.items() if name in names]
    # Not as parameters, since PostgreSQL plans by how many products have them.
    for column, words in ((of.status, get_args(ProductStatus)), (of.kind, get_args(ProductKind))):
        wanted = [literal_column(repr(word), Text) for word in words if word in names]
        conditions += [column.in_(wanted)] if wanted else []
    return conditions


def _has_words(of: Columns) -> ColumnElement[bool]:
    return of.search.bool_op("@@")(cast(bindparam("words", type_=Text), TSQUERY))  # type: ignore[no-any-return]


_SEEN_PRODUCT = SHOWN_PRODUCTS.where(_products.id == bindparam("id"), seen(_products))

# Each query is made once for the conditions it has: to make one takes longer than to run it.


@cache
def _listed(names: frozenset[str]) -> Shown:
    """The newest."""
    return SHOWN_PRODUCTS.where(*_conditions(_products, names)).order_by(_products.id.desc()).limit(bindparam("limit"))


@cache
def _found_among_newest(names: frozenset[str]) -> Shown:
    """Those of the newest `NEWEST_SEARCHED` that have the words."""
    newest = select(_products.id, _products.search).where(*_conditions(_products, names))
    of = newest.order_by(_products.id.desc()).limit(NEWEST_SEARCHED).subquery().c
    return _shown(select(of.id).where(_has_words(of)).order_by(of.id.desc()).limit(bindparam("limit")))


@cache
def _beyond_newest(names: frozenset[str]) -> Select[UUID]:
    """Whether there are more than the newest `NEWEST_SEARCHED`: one more."""
    every = select(_products.id).where(*_conditions(_products, names))
    return every.order_by(_products.id.desc()).offset(NEWEST_SEARCHED).limit(1)


@cache
def _found(names: frozenset[str]) -> Shown:
    """The newest of all that have the words, by the index of words.

    Left to itself, PostgreSQL guesses how many have them, and where it guesses too high reads the whole table from its
    newest row on. `OFFSET 0` makes it find them before it puts them in order.
    """
    having = select(Product.__table__).where(_has_words(_products)).offset(literal_column("0"))
    of = having.subquery().c
    return _shown(select(of.id).where(*_conditions(of, names)).order_by(of.id.desc()).limit(bindparam("limit")))


def _shown(ids: Select[UUID]) -> Shown:
    return SHOWN_PRODUCTS.where(_products.id.in_(ids)).order_by(_products.id.desc())
