"""Products as they are shown: by one query, with the names of those who offer and claim them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    ColumnElement,
    Float,
    Numeric,
    Row,
    ScalarSelect,
    Text,
    Uuid,
    cast,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.ext.asyncio import AsyncSession

from services.catalog.copies import ClaimSeen, Organisation
from services.catalog.models import Product
from services.catalog.views import ProductView

CLAIMED_BY_MAX = 10

_products = Product.__table__.c
_organisations = Organisation.__table__.c
_claims = ClaimSeen.__table__.c


async def view_product(session: AsyncSession, product: Product) -> ProductView:
    """The product as it is shown within this transaction, which may have made or changed it."""
    await session.flush()
    row = (await session.execute(SHOWN_PRODUCTS.where(_products.id == product.id))).one()
    return ProductView.model_validate(shown(row))


def shown(row: Row[Any]) -> dict[str, Any]:
    """A row of `SHOWN_PRODUCTS`, to be written as JSON: a `ProductView` without the making of one."""
    return dict(zip(ProductView.model_fields, row, strict=True))


def _field(name: str) -> ColumnElement[Any]:
    """What the view has under this name; ids as texts, since they are only written out."""
    if name in _MADE:
        return _MADE[name].label(name)
    column = _products[name]
    return cast(column, Text).label(name) if isinstance(column.type, Uuid) else column


def _offered_by() -> ScalarSelect[Any]:
    return select(_organisations.name).where(_organisations.id == _products.organisation_id).scalar_subquery()


def _claimed_by() -> ColumnElement[Any]:
    """The first `CLAIMED_BY_MAX` organisations whose claims stand."""
    # PostgreSQL knows no smallest UUID before version 18; as texts they sort alike.
    first_claim = func.min(cast(_claims.id, Text)).label("first_claim")
    first = (
        select(_claims.organisation_id, first_claim)
        .where(_claims.product_id == _products.id, _claims.state != "released", _claims.organisation_id.is_not(None))
        .correlate(Product.__table__)
        .group_by(_claims.organisation_id)
        .order_by(first_claim)
        .limit(CLAIMED_BY_MAX)
        .subquery()
    )
    named = func.json_build_object("organisation_id", _organisations.id, "name", _organisations.name)
    return func.coalesce(
        select(func.json_agg(aggregate_order_by(named, first.c.first_claim)))
        .join_from(first, Organisation.__table__, _organisations.id == first.c.organisation_id)
        .scalar_subquery(),
        literal_column("'[]'", JSON),
    )


_MADE: dict[str, ColumnElement[Any]] = {
    "organisation_name": _offered_by(),
    "claimed_by": _claimed_by(),
    "stars_average": cast(func.round(cast(_products.stars_sum, Numeric) / func.nullif(_products.reviews, 0), 2), Float),
}

# Each row of it is a `ProductView`, field by field.
SHOWN_PRODUCTS = select(*map(_field, ProductView.model_fields))
