"""The desk of an area: a coordinator signs up somebody who comes by, with a phone or without one."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from chassis import scopes
from chassis.audit import note
from chassis.i18n import Locale
from chassis.tokens import Principal
from services.members.areas import existing_area
from services.members.models import Person
from services.members.people import person_with_phone, register_person
from services.members.registrations import register_person_with_area
from services.members.vault import Vault


async def sign_up_person(
    session: AsyncSession,
    vault: Vault,
    principal: Principal,
    *,
    area_id: UUID,
    display_name: str,
    phone: str | None,
    locale: Locale,
) -> tuple[Person, bool]:
    """An account for somebody new, registered with the area; the one they have if the phone has one. True: it is new.

    An account that exists is left as it is: only its owner names it and registers it.
    """
    await existing_area(session, area_id)
    await scopes.require(session, principal, area_id, "coordinator", "operator")
    if phone is None:
        person, is_new = await register_person(session, locale, display_name), True
    else:
        person, is_new = await person_with_phone(session, vault, phone, locale, display_name)
    if is_new:
        await register_person_with_area(session, person.id, area_id, None, "residence")
    note(session, principal.person_id, "sign_up_person", person.id, area_id=area_id, is_new=is_new)
    return person, is_new
