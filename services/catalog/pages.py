"""Lists, page by page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from sqlalchemy import Select
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.api import PageRequest, page
from services.catalog.models import Category, Need, Product, Reward

Listed = TypeVar("Listed", Category, Need, Product, Reward)


async def newest_first(
    session: AsyncSession, query: Select[Listed], model: type[Listed], asked: PageRequest
) -> tuple[Sequence[Listed], str | None]:
    """The asked-for page of a query's rows, and the cursor to the next one; ids grow with time."""
    before = asked.after_id()
    if before is not None:
        query = query.where(model.id < before)
    rows = (await session.scalars(query.order_by(model.id.desc()).limit(asked.limit + 1))).all()
    return page(rows, asked.limit, lambda row: (row.id,))
