"""Registrations, memberships, and oneself."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

from chassis.tokens import Grant
from contracts.members import MembershipConfirmed, MembershipRequested, PersonChanged, RegistrationChanged
from tests.harness import Person, coordinator, operator
from tests.services.members.conftest import Members


def admin_of(organisation: str) -> Person:
    return Person(grants=(Grant(role="organisation_admin", organisation_id=UUID(organisation)),))


async def test_a_person_registers_with_an_area_once_also_at_once(members: Members):
    ann, area = await members.resident(), await members.area()
    unit = await members.organisation(area)
    body = {"area_id": area, "organisation_id": unit, "kind": "work"}
    answers = await asyncio.gather(*(members.post("/registrations", person=ann, json=body) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 201]
    assert len({answer.text for answer in answers}) == 1
    view = answers[0].json()
    assert view == {
        "id": view["id"],
        "subject": "person",
        "person_id": str(ann.id),
        "organisation_id": unit,
        "area_id": area,
        "kind": "work",
        "status": "active",
        "registered_at": "2026-03-02T08:00:00Z",
    }
    [fact] = await members.emitted(RegistrationChanged)
    assert (str(fact.registration_id), fact.status, str(fact.organisation_id)) == (view["id"], "active", unit)
    assert (await members.get("/me/registrations", person=ann)).json()["items"] == [view]


async def test_who_left_may_come_back_and_each_change_is_told_in_order(members: Members):
    ann, area = await members.resident(), await members.area()
    first = (await members.post("/registrations", person=ann, json={"area_id": area})).json()["id"]
    for _ in range(2):
        assert (await members.delete(f"/registrations/{first}", person=ann)).status_code == 204
    assert (await members.get("/me/registrations", person=ann)).json()["items"] == []
    again = await members.post("/registrations", person=ann, json={"area_id": area})
    assert (again.status_code, again.json()["id"]) == (201, first)
    told = [(envelope.sequence, envelope.data.status) for envelope in await members.envelopes(RegistrationChanged)]
    assert told == [(1, "active"), (2, "left"), (3, "active")]


async def test_somebody_elses_registration_is_not_there_for_a_stranger(members: Members):
    ann, bob, area = await members.resident(), await members.resident("13800000002"), await members.area()
    mine = (await members.post("/registrations", person=ann, json={"area_id": area})).json()["id"]
    for stranger in (bob, coordinator(UUID(area)), operator()):
        assert (await members.delete(f"/registrations/{mine}", person=stranger)).status_code == 404
    assert (await members.delete(f"/registrations/{uuid4()}", person=ann)).status_code == 404
    assert (await members.delete(f"/registrations/{mine}")).status_code == 401


async def test_an_organisation_is_registered_by_its_admin_or_a_coordinator_of_the_area(members: Members):
    city = await members.area(level="city")
    here, there = [await members.area(city) for _ in range(2)]
    unit, other_unit = [await members.organisation(here) for _ in range(2)]
    body = {"area_id": there, "organisation_id": unit, "subject": "organisation"}
    for stranger in (Person(), admin_of(other_unit), coordinator(UUID(here))):
        assert (await members.post("/registrations", person=stranger, json=body)).status_code == 403
    first = await members.post("/registrations", person=admin_of(unit), json=body)
    assert first.status_code == 201
    assert first.json()["person_id"] is None
    assert (await members.post("/registrations", person=coordinator(UUID(there)), json=body)).status_code == 200
    assert len(await members.emitted(RegistrationChanged)) == 1
    gone = f"/registrations/{first.json()['id']}"
    assert (await members.delete(gone, person=admin_of(other_unit))).status_code == 403
    assert (await members.delete(gone, person=admin_of(unit))).status_code == 204


async def test_a_registration_names_what_exists(members: Members):
    ann, area = await members.resident(), await members.area()
    for body, field in (
        ({"area_id": str(uuid4())}, "body.area_id"),
        ({"area_id": area, "organisation_id": str(uuid4())}, "body.organisation_id"),
        ({"area_id": area, "subject": "organisation"}, "body.organisation_id"),
        ({"area_id": area, "kind": "holiday"}, "body.kind"),
        ({"area_id": area, "person_id": str(ann.id)}, "body.person_id"),
    ):
        answer = await members.post("/registrations", person=ann, json=body)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
    assert (await members.post("/registrations", person=Person(), json={"area_id": area})).status_code == 401


async def test_registrations_are_counted_in_the_subtree_each_person_once(members: Members):
    city = await members.area(level="city")
    here, there = [await members.area(city) for _ in range(2)]
    unit = await members.organisation(here)
    ann, bob = await members.resident(), await members.resident("13800000002")
    for person, area in ((ann, here), (ann, there), (bob, there)):
        await members.post("/registrations", person=person, json={"area_id": area, "organisation_id": unit})
    await members.post(
        "/registrations", person=operator(), json={"area_id": here, "organisation_id": unit, "subject": "organisation"}
    )
    counted = (await members.get(f"/areas/{city}/registrations/count")).json()
    assert counted == {"area_id": city, "people": 2, "organisations": 1}


async def test_a_person_asks_to_join_once_and_an_admin_confirms(members: Members):
    ann, area = await members.resident(), await members.area()
    unit = await members.organisation(area)
    asked = await asyncio.gather(*(members.post(f"/organisations/{unit}/members", person=ann) for _ in range(3)))
    assert sorted(answer.status_code for answer in asked) == [200, 200, 201]
    assert asked[0].json()["status"] == "requested"
    for _ in range(2):
        answer = await members.post(f"/organisations/{unit}/members/{ann.id}/confirm", person=admin_of(unit))
        assert (answer.status_code, answer.json()["status"]) == (200, "confirmed")
    again = await members.post(f"/organisations/{unit}/members", person=ann)
    assert (again.status_code, again.json()["status"]) == (200, "confirmed")
    [requested] = await members.envelopes(MembershipRequested)
    [confirmed] = await members.envelopes(MembershipConfirmed)
    assert requested.partitionkey == confirmed.partitionkey
    assert (requested.sequence, confirmed.sequence) == (1, 2)


async def test_only_who_speaks_for_the_organisation_sees_and_confirms_its_members(members: Members):
    city = await members.area(level="city")
    here, there = [await members.area(city) for _ in range(2)]
    unit, other_unit = [await members.organisation(here) for _ in range(2)]
    ann = await members.resident()
    await members.post(f"/organisations/{unit}/members", person=ann)
    for stranger in (ann, admin_of(other_unit), coordinator(UUID(there))):
        assert (
            await members.post(f"/organisations/{unit}/members/{ann.id}/confirm", person=stranger)
        ).status_code == 403
        assert (await members.get(f"/organisations/{unit}/members", person=stranger)).status_code == 403
    for reader in (admin_of(unit), coordinator(UUID(here)), coordinator(UUID(city)), operator()):
        [item] = (await members.get(f"/organisations/{unit}/members", person=reader)).json()["items"]
        assert (item["person_id"], item["status"]) == (str(ann.id), "requested")
        assert item["display_name"].startswith("居民")
    confirmed = await members.get(f"/organisations/{unit}/members", person=operator(), params={"status": "confirmed"})
    assert confirmed.json()["items"] == []


async def test_nobody_is_made_a_member_who_did_not_ask(members: Members):
    ann = await members.resident()
    unit = await members.organisation(await members.area())
    assert (await members.post(f"/organisations/{unit}/members/{ann.id}/confirm", person=operator())).status_code == 404
    assert (await members.post(f"/organisations/{uuid4()}/members", person=ann)).status_code == 404


async def test_i_see_myself_with_what_i_belong_to(members: Members):
    ann, area = await members.resident("13812345678"), await members.area()
    unit = await members.organisation(area)
    registration = (await members.post("/registrations", person=ann, json={"area_id": area})).json()
    membership = (await members.post(f"/organisations/{unit}/members", person=ann)).json()
    role = {"person_id": str(ann.id), "role": "merchant", "area_id": area}
    granted = (await members.post("/roles", person=operator(), json=role)).json()
    answer = await members.get("/me", person=ann)
    assert answer.headers["ETag"] == '"1"'
    assert answer.json() == {
        "id": str(ann.id),
        "display_name": answer.json()["display_name"],
        "phone": "138****5678",
        "locale": "zh-CN",
        "registrations": [registration],
        "memberships": [membership],
        "roles": [granted],
        "version": 1,
    }
    assert "13812345678" not in answer.text


async def test_a_change_of_language_is_told_and_one_of_name_is_not(members: Members):
    ann = await members.resident()
    named = await members.patch("/me", person=ann, json={"display_name": "安"}, headers={"If-Match": '"1"'})
    assert (named.status_code, named.json()["display_name"], named.headers["ETag"]) == (200, "安", '"2"')
    assert await members.emitted(PersonChanged) == []
    stale = await members.patch("/me", person=ann, json={"locale": "en"}, headers={"If-Match": '"1"'})
    assert stale.status_code == 412
    assert (await members.patch("/me", person=ann, json={"locale": "en"})).json()["locale"] == "en"
    [envelope] = await members.envelopes(PersonChanged)
    assert (envelope.data.person_id, envelope.data.locale, envelope.sequence) == (ann.id, "en", 3)
    assert (await members.patch("/me", person=ann, json={"locale": "fr"})).status_code == 422
    assert (await members.patch("/me", person=Person(), json={"locale": "en"})).status_code in {401, 404}
