"""Roles, staff, desk sign-up, the look-ups of other services, and the audit of all of it."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete, select, text
from sqlalchemy.exc import DBAPIError

from chassis.tables import audit_entries
from contracts.event import EVENT_TYPES
from contracts.members import PersonRegistered, RegistrationChanged, RoleGranted, RoleRevoked
from services.members.models import Contact
from services.members.roles import ROLES_MAX, grants_of, keep_roles
from services.members.vault import Unreadable
from tests.harness import Person, coordinator, operator
from tests.services.members.conftest import NOTIFY, Members


async def audited(members: Members) -> list[str]:
    async with members.db.transaction() as session:
        return list(await session.scalars(select(audit_entries.c.action).order_by(audit_entries.c.id)))


async def test_a_role_is_granted_once_carried_by_the_next_token_and_revoked(members: Members):
    tokens, area = await members.sign_in("13800000001"), await members.area()
    body = {"person_id": tokens["person_id"], "role": "coordinator", "area_id": area}
    answers = await asyncio.gather(*(members.post("/roles", person=operator(), json=body) for _ in range(3)))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 201]
    role = answers[0].json()
    assert role == {"id": role["id"], **body, "organisation_id": None, "granted_at": "2026-03-02T08:00:00Z"}
    fresh = (await members.post("/auth/refresh", json={"refresh_token": tokens["refresh_token"]})).json()
    assert (await members.runtime.verifier.verify(fresh["access_token"])).has("coordinator")
    assert (await members.delete(f"/roles/{role['id']}", person=operator())).status_code == 204
    assert (await members.delete(f"/roles/{role['id']}", person=operator())).status_code == 404
    revoked = await members.envelopes(RoleRevoked)
    assert [(envelope.data.role, envelope.sequence) for envelope in revoked] == [("coordinator", 2)]
    assert [str(fact.person_id) for fact in await members.emitted(RoleGranted)] == [tokens["person_id"]]
    await members.deliver(*revoked)
    assert (await members.bearer("GET", "/me", fresh["access_token"])).status_code == 401
    members.clock.advance(seconds=1)
    again = (await members.post("/auth/refresh", json={"refresh_token": fresh["refresh_token"]})).json()
    assert not (await members.runtime.verifier.verify(again["access_token"])).has("coordinator")
    assert (await members.bearer("GET", "/me", again["access_token"])).status_code == 200
    assert (await members.post("/roles", person=operator(), json=body)).json()["id"] != role["id"]


@pytest.mark.parametrize("guarded", [True, False], ids=["guarded", "control"])
async def test_no_token_with_a_role_is_younger_than_the_fact_that_refuses_it(members: Members, guarded: bool):
    """A refresh reads the roles, then somebody revokes one, then the token is signed: the revocation has to wait."""
    tokens, area = await members.sign_in("13800000001"), await members.area()
    person_id = UUID(tokens["person_id"])
    body = {"person_id": str(person_id), "role": "coordinator", "area_id": area}
    role = (await members.post("/roles", person=operator(), json=body)).json()
    async with members.db.transaction() as session:
        if guarded:
            await keep_roles(session, person_id)
        assert await grants_of(session, person_id)
        revoking = asyncio.create_task(members.delete(f"/roles/{role['id']}", person=operator()))
        await asyncio.wait([revoking], timeout=0.5)
        members.clock.advance(seconds=1)
        signed_at = members.clock()
        assert revoking.done() is not guarded
    assert (await revoking).status_code == 204
    [revoked] = await members.envelopes(RoleRevoked)
    assert (signed_at <= revoked.time) is guarded


async def test_a_coordinator_grants_some_roles_within_their_own_areas(members: Members):
    city = await members.area(level="city")
    here, there = [await members.area(city) for _ in range(2)]
    unit, other_unit = await members.organisation(here), await members.organisation(there)
    bob, ann = str((await members.resident()).id), coordinator(UUID(here))
    for scope, status in (
        ({"role": "organisation_admin", "organisation_id": unit}, 201),
        ({"role": "merchant", "area_id": here}, 201),
        ({"role": "device", "area_id": here}, 201),
        ({"role": "organisation_admin", "organisation_id": other_unit}, 403),
        ({"role": "merchant", "area_id": there}, 403),
        ({"role": "device", "area_id": city}, 403),
        ({"role": "coordinator", "area_id": here}, 403),
        ({"role": "operator"}, 403),
    ):
        answer = await members.post("/roles", person=ann, json={"person_id": bob, **scope})
        assert answer.status_code == status, scope
    assert (
        await members.post("/roles", person=Person(), json={"person_id": bob, "role": "operator"})
    ).status_code == 403


async def test_a_coordinator_sees_and_revokes_roles_within_their_own_areas(members: Members):
    city = await members.area(level="city")
    here, there = [await members.area(city) for _ in range(2)]
    unit, bob, ann = await members.organisation(here), str((await members.resident()).id), coordinator(UUID(here))
    granted = [
        (await members.post("/roles", person=operator(), json={"person_id": bob, **scope})).json()["id"]
        for scope in (
            {"role": "organisation_admin", "organisation_id": unit},
            {"role": "merchant", "area_id": here},
            {"role": "merchant", "area_id": there},
            {"role": "coordinator", "area_id": here},
        )
    ]
    seen = (await members.get("/roles", person=ann, params={"person_id": bob})).json()["items"]
    assert [role["id"] for role in seen] == [granted[3], granted[1], granted[0]]
    assert len((await members.get("/roles", person=operator(), params={"person_id": bob})).json()["items"]) == 4
    assert (await members.get("/roles", person=Person())).status_code == 403
    statuses = [(await members.delete(f"/roles/{role}", person=ann)).status_code for role in granted]
    assert statuses == [204, 204, 403, 403]


async def test_a_role_names_the_scope_it_needs_and_no_other(members: Members):
    area = await members.area()
    unit, bob = await members.organisation(area), str((await members.resident()).id)
    for scope, field in (
        ({"role": "organisation_admin"}, "body.organisation_id"),
        ({"role": "organisation_admin", "organisation_id": unit, "area_id": area}, "body.area_id"),
        ({"role": "coordinator"}, "body.area_id"),
        ({"role": "merchant", "area_id": area, "organisation_id": unit}, "body.organisation_id"),
        ({"role": "device", "area_id": str(uuid4())}, "body.area_id"),
        ({"role": "operator", "area_id": area}, "body.area_id"),
        ({"role": "resident"}, "body.role"),
        ({"role": "operator", "person_id": str(uuid4())}, "body.person_id"),
    ):
        answer = await members.post("/roles", person=operator(), json={"person_id": bob, **scope})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


async def test_a_person_holds_as_many_roles_as_a_token_carries(members: Members):
    bob = await members.sign_in("13800000001")
    parent = await members.area(level="city")
    areas = [await members.area(parent) for _ in range(ROLES_MAX + 1)]
    statuses = [
        (
            await members.post(
                "/roles", person=operator(), json={"person_id": bob["person_id"], "role": "merchant", "area_id": area}
            )
        ).status_code
        for area in areas
    ]
    assert statuses == [201] * ROLES_MAX + [409]
    fresh = (await members.post("/auth/refresh", json={"refresh_token": bob["refresh_token"]})).json()
    assert (await members.bearer("GET", "/me", fresh["access_token"])).status_code == 200


async def test_the_last_operator_stays(staffed: Members):
    [role] = (await staffed.get("/roles", person=operator())).json()["items"]
    answer = await staffed.delete(f"/roles/{role['id']}", person=operator())
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:linli:problem:last_operator")
    bob = str((await staffed.resident()).id)
    second = (await staffed.post("/roles", person=operator(), json={"person_id": bob, "role": "operator"})).json()
    statuses = await asyncio.gather(
        *(staffed.delete(f"/roles/{known}", person=operator()) for known in (role["id"], second["id"]))
    )
    assert sorted(answer.status_code for answer in statuses) == [204, 409]


async def test_an_operator_makes_staff_who_then_sign_in(members: Members):
    body = {"username": "Li.Coordinator", "password": "a long password", "display_name": "李"}
    answer = await members.post("/staff", person=operator(), json=body)
    assert answer.status_code == 201
    assert answer.json() == {"person_id": answer.json()["person_id"], "username": "li.coordinator"}
    signed_in = await members.post("/auth/token", json={"username": "li.coordinator", "password": "a long password"})
    assert signed_in.json()["person_id"] == answer.json()["person_id"]
    again = await members.post("/staff", person=operator(), json={**body, "username": "LI.coordinator"})
    assert (again.status_code, again.json()["type"]) == (409, "urn:linli:problem:username_taken")
    for person in (Person(), coordinator(uuid4())):
        assert (await members.post("/staff", person=person, json=body)).status_code == 403
    for change in ({"password": "short"}, {"username": "a b"}, {"role": "operator"}):
        assert (await members.post("/staff", person=operator(), json={**body, **change})).status_code == 422


async def test_who_is_signed_up_at_the_desk_is_found_by_a_later_code(members: Members):
    area = await members.area()
    body = {"display_name": "王奶奶", "phone": "+8613800000009", "area_id": area}
    first = await members.post("/people", person=coordinator(UUID(area)), json=body)
    assert first.status_code == 201
    assert first.json() == {"person_id": first.json()["person_id"], "display_name": "王奶奶"}
    again = await members.post("/people", person=coordinator(UUID(area)), json={**body, "display_name": "other"})
    assert (again.status_code, again.json()) == (200, first.json())
    assert (await members.sign_in("13800000009"))["person_id"] == first.json()["person_id"]
    assert len(await members.emitted(PersonRegistered)) == 1
    [registered] = await members.emitted(RegistrationChanged)
    assert (str(registered.person_id), str(registered.area_id)) == (first.json()["person_id"], area)


async def test_the_desk_signs_up_people_without_a_phone_in_its_own_area_only(members: Members):
    city = await members.area(level="city")
    here, there = [await members.area(city) for _ in range(2)]
    ann = coordinator(UUID(here))
    signed_up = await members.post("/people", person=ann, json={"display_name": "王奶奶", "area_id": here})
    assert signed_up.status_code == 201
    me = await members.get("/me", person=Person(id=UUID(signed_up.json()["person_id"])))
    assert me.json()["phone"] is None
    for area, status in ((there, 403), (str(uuid4()), 422)):
        answer = await members.post("/people", person=ann, json={"display_name": "x", "area_id": area})
        assert answer.status_code == status
    assert (
        await members.post("/people", person=Person(), json={"display_name": "x", "area_id": here})
    ).status_code == 403


async def test_a_service_looks_up_contact_code_and_names_with_the_scope_for_it(members: Members):
    challenge, code = await members.code_for("+8613812345678", headers={"Accept-Language": "en"})
    answer = await members.look_up(f"/internal/challenges/{challenge}", "challenges")
    assert answer.json() == {"phone": "13812345678", "code": code, "locale": "en"}
    ann = str((await members.resident("13812345678")).id)
    contact = await members.look_up(f"/internal/contacts/{ann}", "contacts")
    assert contact.json() == {"phone": "13812345678", "locale": "zh-CN"}
    area = await members.area()
    phoneless = await members.post("/people", person=operator(), json={"display_name": "王奶奶", "area_id": area})
    contact = await members.look_up(f"/internal/contacts/{phoneless.json()['person_id']}", "contacts")
    assert contact.json() == {"phone": None, "locale": "zh-CN"}
    names = await members.look_up(f"/internal/names?ids={ann}&ids={uuid4()}", "names")
    assert list(names.json()["names"]) == [ann]
    assert (await members.look_up("/internal/names?" + f"ids={ann}&" * 101, "names")).status_code == 422


async def test_no_other_token_opens_a_look_up(members: Members):
    ann = await members.resident()
    for path in (f"/internal/contacts/{ann.id}", f"/internal/challenges/{uuid4()}", f"/internal/names?ids={ann.id}"):
        assert (await members.get(path)).status_code == 401
        assert (await members.get(path, person=operator())).status_code == 401
        assert (await members.look_up(path, "other")).status_code == 401
    forged = NOTIFY.service_token("gateway", "contacts", members.clock())
    answer = await members.get(f"/internal/contacts/{ann.id}", headers={"Authorization": f"Bearer {forged}"})
    assert answer.status_code == 401
    assert (await members.look_up(f"/internal/contacts/{uuid4()}", "contacts")).status_code == 404


async def test_admin_actions_and_unmasked_reads_are_audited_and_the_audit_stays(staffed: Members):
    area = await staffed.area()
    ann = str((await staffed.resident()).id)  # its code is read once
    role = {"person_id": ann, "role": "merchant", "area_id": area}
    granted = (await staffed.post("/roles", person=operator(), json=role)).json()["id"]
    await staffed.post("/roles", person=operator(), json=role)
    await staffed.delete(f"/roles/{granted}", person=operator())
    await staffed.post("/people", person=operator(), json={"display_name": "x", "area_id": area})
    await staffed.look_up(f"/internal/contacts/{ann}", "contacts")
    assert await audited(staffed) == [
        "add_staff",
        "grant_role",
        "add_area",
        "read_challenge",
        "grant_role",
        "revoke_role",
        "sign_up_person",
        "read_contact",
    ]
    for statement in (text("UPDATE audit_entries SET actor = 'nobody'"), delete(audit_entries)):
        with pytest.raises(DBAPIError, match="permission denied"):
            async with staffed.db.transaction() as session:
                await session.execute(statement)


async def test_no_phone_is_readable_in_the_database_or_in_any_fact(members: Members):
    canary = "13987654321"
    await members.sign_in(canary)
    tables = ("contacts", "challenges", "people", "audit_entries", "sign_ins", "refresh_tokens")
    async with members.db.transaction() as session:
        for table in tables:
            rows = (await session.execute(text(f"SELECT t::text FROM {table} t"))).scalars()  # noqa: S608
            assert all(canary not in row and canary.encode().hex() not in row for row in rows)
        sealed = await session.scalar(select(Contact.phone_sealed))
    for kind in EVENT_TYPES.values():
        assert all(canary not in envelope.to_json() for envelope in await members.envelopes(kind))
    with pytest.raises(Unreadable):
        members.app.state.parts.vault.open(sealed, uuid4())
