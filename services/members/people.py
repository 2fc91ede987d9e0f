"""People: an account for whoever signs in or signs up at the desk, found again by phone."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.api import require_match
from chassis.db import world_of
from chassis.errors import NotFound, Unauthenticated
from chassis.i18n import Locale, catalogue
from chassis.outbox import emit
from chassis.tokens import Principal
from contracts.members import PersonChanged, PersonRegistered
from services.members.models import Contact, Organisation, Person
from services.members.turns import take_turn
from services.members.vault import Vault


async def person_with_phone(
    session: AsyncSession, vault: Vault, phone: str, locale: Locale, display_name: str | None = None
) -> tuple[Person, bool]:
    """Who has this phone; somebody new where nobody has. True: somebody new."""
    index = vault.index("phone", phone)
    await take_turn(session, "phone", index.hex())
    known = select(Person).join(Contact, Contact.person_id == Person.id).where(Contact.phone_index == index)
    person = await session.scalar(known)
    if person is not None:
        return person, False
    person = await register_person(session, locale, display_name)
    session.add(Contact(person_id=person.id, phone_index=index, phone_sealed=vault.seal(phone, person.id)))
    return person, True


async def register_person(session: AsyncSession, locale: Locale, display_name: str | None = None) -> Person:
    """A new account; without a name it gets a neutral one."""
    world = world_of(session)
    person_id = world.new_id()
    person = Person(
        id=person_id,
        display_name=display_name or neutral_name(person_id, locale),
        locale=locale,
        created_at=world.now(),
        version=1,
    )
    session.add(person)
    await session.flush()
    emit(session, PersonRegistered(person_id=person.id, locale=locale), sequence=person.version)
    return person


async def change_person(
    session: AsyncSession, person_id: UUID, if_match: str | None, *, display_name: str | None, locale: Locale | None
) -> Person:
    """Another display name or language; others are told of the language only. Changed when it is not this version."""
    person = await session.get(Person, person_id, with_for_update=True)
    if person is None:
        raise NotFound()
    require_match(if_match, person.version)
    speaks_another = locale is not None and locale != person.locale
    person.display_name = display_name or person.display_name
    person.locale = locale or person.locale
    person.version += 1
    if speaks_another:
        emit(session, PersonChanged(person_id=person.id, locale=person.locale), sequence=person.version)
    return person


async def require_account(session: AsyncSession, principal: Principal, *, stays: bool = False) -> Person:
    """The account of the one who asks; Unauthenticated for a token without one.

    With `stays` it is not erased until this transaction ends: for what will refer to it.
    """
    # The lock that a foreign key takes when the row with it comes: by then they may be gone.
    lock = {"read": True, "key_share": True} if stays else None
    person = await session.get(Person, principal.person_id, with_for_update=lock)
    if person is None:
        raise Unauthenticated()
    return person


async def phone_of(session: AsyncSession, vault: Vault, person_id: UUID) -> str | None:
    """Their phone, in the clear; None for somebody without one."""
    sealed = await session.scalar(select(Contact.phone_sealed).where(Contact.person_id == person_id))
    return None if sealed is None else vault.open(sealed, person_id)


async def names_of(session: AsyncSession, ids: Sequence[UUID]) -> dict[UUID, str]:
    """Names of people and organisations by id; ids of neither are left out."""
    people = select(Person.id, Person.display_name.label("name")).where(Person.id.in_(ids))
    organisations = select(Organisation.id, Organisation.name).where(Organisation.id.in_(ids))
    return {row.id: row.name for row in await session.execute(people.union_all(organisations))}


def neutral_name(person_id: UUID, locale: Locale) -> str:
    """A name that says nothing about somebody: digits from the end of their id, never from their phone."""
    name: str = catalogue("services.members", locale)["default_name"]
    return name.format(number=f"{person_id.int % 10_000:04d}")
