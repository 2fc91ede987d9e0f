"""The look-ups of other services, each with its own scope; not behind the gateway. Reads of a contact are audited."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Query, Request
from pydantic import BaseModel

from chassis.api import Api, Db
from chassis.audit import note
from chassis.auth import service
from chassis.errors import NotFound
from services.members.challenges import reveal_challenge
from services.members.models import Person
from services.members.parts import CurrentParts
from services.members.people import names_of, phone_of

NAMES_MAX = 100

api = Api("internal", internal=True)


class ChallengeContactView(BaseModel):
    """What is sent to whom, in which language."""

    phone: str
    code: str
    locale: str


class ContactView(BaseModel):
    """Where somebody is reached; no phone for somebody without one."""

    phone: str | None
    locale: str


class NamesView(BaseModel):
    """Names of people and organisations by id; ids of neither are left out."""

    names: dict[UUID, str]


@api.get("/challenges/{challenge_id}", policy=service("challenges"))
async def read_challenge(request: Request, challenge_id: UUID, db: Db, parts: CurrentParts) -> ChallengeContactView:
    """Phone and code of an open challenge; 404 once it has expired or was used."""
    async with db.transaction() as session:
        phone, code, locale = await reveal_challenge(session, parts.vault, challenge_id, request.state.service)
    return ChallengeContactView(phone=phone, code=code, locale=locale)


@api.get("/contacts/{person_id}", policy=service("contacts"))
async def read_contact(request: Request, person_id: UUID, db: Db, parts: CurrentParts) -> ContactView:
    async with db.transaction() as session:
        person = await session.get(Person, person_id)
        if person is None:
            raise NotFound()
        note(session, request.state.service, "read_contact", person.id)
        return ContactView(phone=await phone_of(session, parts.vault, person.id), locale=person.locale)


@api.get("/names", policy=service("names"))
async def read_names(db: Db, ids: Annotated[list[UUID], Query(max_length=NAMES_MAX)]) -> NamesView:
    async with db.transaction() as session:
        return NamesView(names=await names_of(session, ids))
