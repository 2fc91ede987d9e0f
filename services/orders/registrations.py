"""Orders' copies of who belongs where: registrations with areas, memberships of organisations, centres."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import exists, literal_column, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.arrays import among
from chassis.inbox import by_sequence
from contracts.event import Envelope
from contracts.members import CentreOpened, MembershipConfirmed, RegistrationChanged
from services.orders.models import Centre, Membership, Registration

# The status as it stands in the index's condition: by a parameter, a generic plan could not use the index.
_REGISTERED = (
    select(Registration.person_id)
    .where(among(Registration.person_id, "people"), Registration.status == literal_column("'active'"))
    .distinct()
)


async def is_registered(session: AsyncSession, person_id: UUID) -> bool:
    """Whether the person is registered with any area."""
    return person_id in await registered_among(session, [person_id])


async def registered_among(session: AsyncSession, people: Collection[UUID]) -> set[UUID]:
    """Those of the people who are registered with any area."""
    if not people:
        return set()
    return set(await session.scalars(_REGISTERED, {"people": list(people)}))


async def is_member(session: AsyncSession, organisation_id: UUID, person_id: UUID) -> bool:
    """Whether the organisation confirmed the person as its member."""
    confirmed = exists().where(Membership.organisation_id == organisation_id, Membership.person_id == person_id)
    return bool(await session.scalar(select(confirmed)))


async def put_registrations(session: AsyncSession, envelopes: Sequence[Envelope[RegistrationChanged]]) -> None:
    """Handler: somebody registered with an area, or left it."""
    await _put(session, Registration, "registration_id", envelopes, [])


async def put_memberships(session: AsyncSession, envelopes: Sequence[Envelope[MembershipConfirmed]]) -> None:
    """Handler: an organisation confirmed a member."""
    await _put(session, Membership, "membership_id", envelopes, [])


async def put_centres(session: AsyncSession, envelopes: Sequence[Envelope[CentreOpened]]) -> None:
    """Handler: a centre is open."""
    await _put(session, Centre, "centre_id", envelopes, ["address"])


async def _put(
    session: AsyncSession,
    model: type[Registration | Membership | Centre],
    key: str,
    envelopes: Sequence[Envelope[Any]],
    without: list[str],
) -> None:
    rows = [{**e.data.model_dump(exclude=set(without)), "sequence": e.sequence} for e in by_sequence(envelopes)]
    rows.sort(key=lambda row: str(row[key]))
    statement = insert(model)
    new = {name: statement.excluded[name] for name in rows[0] if name != key}
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=[key], set_=new, where=model.sequence < statement.excluded.sequence
        ),
        rows,
    )
