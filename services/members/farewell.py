"""A person leaves: everything that Linli holds about them is erased, here at once, elsewhere when the fact arrives."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.audit import note
from chassis.db import world_of
from chassis.erasure import Erasure
from chassis.errors import Unauthenticated
from chassis.outbox import emit
from chassis.tokens import Principal
from contracts.members import PersonErased
from services.members.models import Person
from services.members.refusals import FreshSignInNeeded
from services.members.roles import require_another_operator
from services.members.sign_in_models import SignIn

# Whoever has only an old device of somebody's in their hands cannot erase them.
FRESH_SIGN_IN_MIN = 10


async def erase_me(session: AsyncSession, erasure: Erasure, principal: Principal) -> None:
    """Erase the one who asks, who has just signed in; LastOperator for the last one there is."""
    await require_another_operator(session, principal.person_id)
    # Until the commit nobody signs in as this person, joins or registers them: that waits, and then finds nobody.
    locked = select(Person).where(Person.id == principal.person_id).with_for_update()
    person = await session.scalar(locked)
    sign_in = await session.get(SignIn, principal.session_id)
    if person is None or sign_in is None:
        raise Unauthenticated()
    now = world_of(session).now()
    if sign_in.created_at < now - timedelta(minutes=FRESH_SIGN_IN_MIN):
        raise FreshSignInNeeded(minutes=FRESH_SIGN_IN_MIN)
    sequence = person.version + 1
    note(session, principal.person_id, "erase_me", principal.person_id)
    await erasure.erase(session, principal.person_id, now)
    emit(session, PersonErased(person_id=principal.person_id), sequence=sequence)
