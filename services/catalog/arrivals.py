"""What a request may name before its fact has come: areas, organisations and centres of members."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.arrivals import Arrivals
from chassis.tables import scopes
from services.catalog.copies import Centre, Organisation


async def wait_for_area(arrivals: Arrivals, area_id: UUID) -> None:
    """Return once the area is known here; NotArrived when it does not come."""
    await arrivals.wait_for(lambda session: session.scalar(select(scopes.c.id).where(scopes.c.id == area_id)))


async def wait_for_organisation(arrivals: Arrivals, organisation_id: UUID) -> None:
    """Return once the organisation is known here; NotArrived when it does not come."""
    await arrivals.wait_for(lambda session: session.get(Organisation, organisation_id))


async def wait_for_centres(arrivals: Arrivals, centre_ids: Collection[UUID]) -> None:
    """Return once all the centres, and the areas they are in, are known here; NotArrived when one does not come."""

    async def all_there(session: AsyncSession) -> bool | None:
        known = select(func.count()).select_from(Centre).join(scopes, scopes.c.id == Centre.area_id)
        return await session.scalar(known.where(Centre.id.in_(centre_ids))) == len(centre_ids) or None

    await arrivals.wait_for(all_there)
