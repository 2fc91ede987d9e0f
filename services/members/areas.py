"""Areas: the grid tree, from the city down to the building; every role and every thing has its place in it."""

from __future__ import annotations

from typing import Literal, get_args
from uuid import UUID
from zoneinfo import available_timezones

from sqlalchemy import Select, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from chassis import scopes
from chassis.audit import note
from chassis.db import world_of
from chassis.errors import Forbidden, InvalidInput
from chassis.outbox import emit
from chassis.tokens import Principal
from contracts.members import AreaChanged
from services.members.models import Area

# From the widest to the narrowest. A region is whatever fits none of the others.
Level = Literal["city", "district", "street", "community", "block", "court", "building", "grid", "region"]
LEVELS: tuple[str, ...] = get_args(Level)
DEFAULT_TIMEZONE = "Asia/Shanghai"
# Without names such as "localtime", which mean something else on every machine.
TIMEZONES = frozenset({"UTC", *(name for name in available_timezones() if "/" in name)})


async def add_area(
    session: AsyncSession,
    principal: Principal,
    *,
    parent_id: UUID | None,
    level: Level,
    name: str,
    name_en: str | None,
    timezone: str | None,
) -> Area:
    """A new root (operators only), or a narrower area below an existing one, in its parent's time zone unless told."""
    parent = None if parent_id is None else await existing_area(session, parent_id, "body.parent_id")
    if parent is not None:
        await scopes.require(session, principal, parent.id, "coordinator", "operator")
    elif not principal.has("operator"):
        raise Forbidden()
    if parent is not None and LEVELS.index(level) <= LEVELS.index(parent.level):
        raise InvalidInput(("body.level", "literal_error", {"expected": ", ".join(_below(parent.level)) or "-"}))
    timezone = timezone or (parent.timezone if parent else DEFAULT_TIMEZONE)
    if timezone not in TIMEZONES:
        raise InvalidInput(("body.timezone", "literal_error", {"expected": "Asia/Shanghai, Asia/Urumqi, …"}))
    area_id = world_of(session).new_id()
    path = [*(parent.path if parent else []), area_id]
    area = Area(id=area_id, parent_id=parent_id, path=path, level=level, name=name, name_en=name_en, timezone=timezone)
    area.active, area.version = True, 1
    session.add(area)
    await _tell(session, area)
    note(session, principal.person_id, "add_area", area.id)
    return area


async def existing_area(session: AsyncSession, area_id: UUID, field: str = "body.area_id") -> Area:
    """The area that a field of a request names; InvalidInput for that field when there is none."""
    area = await session.get(Area, area_id)
    if area is None:
        raise InvalidInput((field, "exists", {"thing": "area"}))
    return area


async def list_areas(
    session: AsyncSession, *, parent_id: UUID | None, level: str | None, q: str | None, before: UUID | None, limit: int
) -> list[Area]:
    """Areas, newest first, of one parent, level, or with a text in their name."""
    query = select(Area).order_by(Area.id.desc()).limit(limit)
    if parent_id is not None:
        query = query.where(Area.parent_id == parent_id)
    if level is not None:
        query = query.where(Area.level == level)
    if q is not None:
        query = query.where(or_(Area.name.icontains(q, autoescape=True), Area.name_en.icontains(q, autoescape=True)))
    if before is not None:
        query = query.where(Area.id < before)
    return list((await session.scalars(query)).all())


def subtree(area_id: UUID) -> Select[UUID]:
    """Ids of the area and of everything below it."""
    return select(Area.id).where(Area.path.contains([area_id]))


def _below(level: str) -> tuple[str, ...]:
    return LEVELS[LEVELS.index(level) + 1 :]


async def _tell(session: AsyncSession, area: Area) -> None:
    """Tell the fact, and take it over into this service's own copy of the tree, so that rights hold at once."""
    fact = AreaChanged(
        area_id=area.id,
        parent_id=area.parent_id,
        path=area.path,
        level=area.level,
        name=area.name,
        name_en=area.name_en,
        timezone=area.timezone,
        active=area.active,
    )
    emit(session, fact, sequence=area.version)
    await scopes.put_area(session, fact, area.version)
