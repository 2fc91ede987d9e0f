"""Members: who signs in, and whose name is asked for, is found by index."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from services.members.app import SERVICE
from services.members.people import names_of
from tests.harness import Databases, operator
from tests.plans.crowd import make_crowd
from tests.plans.plans import captured, require_indexes
from tests.services.members.conftest import Members, run_members

PHONE = "13800000007"


@pytest.fixture(scope="module")
async def crowded(databases: Databases, server_url: str) -> AsyncIterator[Members]:
    async with run_members(databases) as members:
        person = await members.resident()
        area = await members.area()
        await members.organisation(area)
        registered = await members.post("/registrations", person=person, json={"area_id": area, "subject": "person"})
        assert registered.status_code in {200, 201}, registered.text
        role = {"person_id": str(person.id), "role": "coordinator", "area_id": area}
        assert (await members.post("/roles", person=operator(), json=role)).status_code == 201
        await make_crowd(members.service, SERVICE, server_url)
        yield members


async def test_signing_in(crowded: Members) -> None:
    async with captured(crowded.db) as plans:
        await crowded.sign_in(PHONE)
        await crowded.sign_in(PHONE)
    require_indexes(plans, "ix_challenges_phone_index_created_at", "pk_challenges", "uq_contacts_phone_index")


async def test_going_on_with_a_refresh_token(crowded: Members) -> None:
    tokens = await crowded.sign_in(PHONE)
    async with captured(crowded.db) as plans:
        answer = await crowded.post("/auth/refresh", json={"refresh_token": tokens["refresh_token"]})
        assert answer.status_code == 200, answer.text
    require_indexes(plans, "pk_refresh_tokens", "pk_sign_ins")


async def test_names(crowded: Members) -> None:
    async with captured(crowded.db) as plans, crowded.db.transaction() as session:
        await names_of(session, [uuid4() for _ in range(20)])
    require_indexes(plans, "pk_people", "pk_organisations")
