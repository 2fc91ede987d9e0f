"""Category schemes: each area keeps its own, in both languages."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from chassis import scopes
from chassis.api import PageRequest, page
from chassis.audit import note
from chassis.db import world_of
from chassis.errors import InvalidInput
from chassis.tables import scopes as areas
from chassis.tokens import Principal
from services.catalog.bodies import NewCategory
from services.catalog.models import Category
from services.catalog.rights import require_coordinator


async def add_category(session: AsyncSession, principal: Principal, new: NewCategory) -> tuple[Category, bool]:
    """The category with this key in the area's scheme, and whether it is new; one that is there stays as it is."""
    await require_coordinator(session, principal, new.area_id)
    values = {
        "id": world_of(session).new_id(),
        "area_path": await scopes.path_of(session, new.area_id),
        **new.model_dump(),
    }
    added = await session.scalar(insert(Category).values(values).on_conflict_do_nothing().returning(Category))
    if added is not None:
        note(session, principal.person_id, "add_category", added.id)
        return added, True
    same = select(Category).where(Category.scheme == new.scheme, Category.key == new.key)
    return (await session.scalars(same.where(Category.area_id == new.area_id))).one(), False


async def list_categories(
    session: AsyncSession, scheme: str | None, area_id: UUID | None, asked: PageRequest
) -> tuple[Sequence[Category], str | None]:
    """Categories in the order they were added; of an area: its own, those of the areas above it and within it."""
    query = select(Category).order_by(Category.id).limit(asked.limit + 1)
    if scheme is not None:
        query = query.where(Category.scheme == scheme)
    if area_id is not None:
        path = await session.scalar(select(areas.c.path).where(areas.c.id == area_id)) or []
        query = query.where(or_(Category.area_path.contains([area_id]), Category.area_id.in_(path)))
    after = asked.after_id()
    if after is not None:
        query = query.where(Category.id > after)
    rows = (await session.scalars(query)).all()
    return page(rows, asked.limit, lambda row: (row.id,))


async def require_category(session: AsyncSession, category_id: UUID | None, field: str) -> None:
    """Raise InvalidInput, naming the field, for a category that does not exist."""
    if category_id is not None and await session.get(Category, category_id) is None:
        raise InvalidInput((field, "exists", {"thing": "category"}))
