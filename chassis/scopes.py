"""Where a role holds: each service's copy of the area tree, and the question whether a grant covers an area.

A role granted for an area holds in its whole subtree; a role granted without one holds everywhere.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Uuid, any_, bindparam, select
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.errors import Forbidden, NotArrived
from chassis.inbox import by_sequence
from chassis.tables import scopes
from chassis.tokens import Principal
from contracts.event import Envelope
from contracts.members import AreaChanged

_AREAS = select(scopes.c.id, scopes.c.path, scopes.c.timezone).where(
    scopes.c.id == any_(bindparam("ids", type_=ARRAY(Uuid)))
)


async def require(session: AsyncSession, principal: Principal, area_id: UUID, *roles: str) -> None:
    """Raise Forbidden unless one of the roles covers the area; NotArrived when the area is not known here."""
    if not await covers(session, principal, area_id, *roles):
        raise Forbidden()


async def covers(session: AsyncSession, principal: Principal, area_id: UUID, *roles: str) -> bool:
    """Whether the principal holds one of the roles in a subtree with this area."""
    held = [grant for grant in principal.grants if grant.role in roles and grant.organisation_id is None]
    if not held:
        return False
    path = set(await path_of(session, area_id))
    return any(grant.area_id is None or grant.area_id in path for grant in held)


@dataclass(frozen=True, slots=True)
class Area:
    """An area as copied here: ids from the root to the area itself, and the zone of its hours and years."""

    path: tuple[UUID, ...]
    timezone: tzinfo


async def path_of(session: AsyncSession, area_id: UUID) -> Sequence[UUID]:
    """Ids from the root to the area itself."""
    path = await session.scalar(select(scopes.c.path).where(scopes.c.id == area_id))
    if path is None:
        raise NotArrived()
    return [UUID(str(part)) for part in path]


async def timezone_of(session: AsyncSession, area_id: UUID) -> tzinfo:
    """The time zone in which the area keeps its hours and years."""
    name = await session.scalar(select(scopes.c.timezone).where(scopes.c.id == area_id))
    if name is None:
        raise NotArrived()
    return ZoneInfo(name)


async def areas_of(session: AsyncSession, area_ids: Collection[UUID]) -> Mapping[UUID, Area]:
    """All of these areas, with one look; NotArrived when one is not known here."""
    rows = await session.execute(_AREAS, {"ids": list(area_ids)})
    known = {row.id: Area(tuple(row.path), ZoneInfo(row.timezone)) for row in rows}
    if len(known) < len(area_ids):
        raise NotArrived()
    return known


async def copy_areas(session: AsyncSession, envelopes: Sequence[Envelope[AreaChanged]]) -> None:
    """Handler: keep the copy of the tree current."""
    for envelope in by_sequence(envelopes):
        await put_area(session, envelope.data, envelope.sequence)


async def put_area(session: AsyncSession, area: AreaChanged, sequence: int) -> None:
    """Take over one area, unless a later version of it is here already."""
    values = {"path": area.path, "timezone": area.timezone, "sequence": sequence}
    await session.execute(
        insert(scopes)
        .values(id=area.area_id, **values)
        .on_conflict_do_update(index_elements=["id"], set_=values, where=scopes.c.sequence < sequence)
    )
