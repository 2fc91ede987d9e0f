"""Leaving: who may, when, and what is left in members' database: an audit entry about an id."""

from __future__ import annotations

import asyncio
from typing import Any

from sqlalchemy import text

from chassis.erasure import Erasure
from contracts.members import PersonErased
from services.members.exports import EXPORTS_MAX
from services.members.farewell import FRESH_SIGN_IN_MIN, erase_me
from services.members.personal import PERSONAL
from tests.harness import operator
from tests.services.members.conftest import OPERATOR_PASSWORD, Members

PHONE = "13800000009"


async def refused(answer: Any, status: int, problem: str) -> None:
    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:linli:problem:{problem}")


async def everything(members: Members) -> str:
    """All rows of all tables as text; what is binary in hexadecimal digits."""
    async with members.db.transaction() as session:
        tables = await session.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))
        rows = [await session.scalars(text(f'SELECT t::text FROM "{table}" t')) for table in tables]  # noqa: S608
        return "\n".join(row for found in rows for row in found)


async def audited(members: Members, person_id: str) -> list[str]:
    """What the audit says was done to the person, newest first."""
    answer = await members.get("/services/members/audit-entries", person=operator(), params={"subject": person_id})
    return [entry["action"] for entry in answer.json()["items"]]


async def test_nothing_but_the_audit_and_the_erasure_knows_the_id_afterwards(members: Members) -> None:
    area = await members.area()
    organisation = await members.organisation(area)
    ann = await members.sign_in(PHONE)
    token, person_id = ann["access_token"], ann["person_id"]
    await members.bearer("PATCH", "/me", token, json={"display_name": "王芳"})
    await members.bearer("POST", "/registrations", token, json={"area_id": area})
    await members.bearer("POST", f"/organisations/{organisation}/members", token)
    await members.post("/roles", person=operator(), json={"person_id": person_id, "role": "merchant", "area_id": area})
    await members.code_for(PHONE)
    index = members.app.state.parts.vault.index("phone", PHONE).hex()
    before = await everything(members)
    assert "王芳" in before
    assert index in before

    assert (await members.bearer("DELETE", "/me", token)).status_code == 204
    after = await everything(members)
    assert "王芳" not in after
    assert index not in after
    async with members.db.transaction() as session:
        for table, columns in {
            "people": "id",
            "contacts": "person_id",
            "registrations": "person_id",
            "memberships": "person_id",
            "roles": "person_id",
            "sign_ins": "person_id",
        }.items():
            left = f"SELECT count(*) FROM {table} WHERE {columns} = '{person_id}'"  # noqa: S608 - names of ours
            assert await session.scalar(text(left)) == 0, table
    [told] = await members.envelopes(PersonErased)
    assert (str(told.data.person_id), told.sequence) == (person_id, 3)
    assert (await members.bearer("GET", "/me", token)).status_code == 401
    assert (await members.bearer("DELETE", "/me", token)).status_code == 401
    assert (await members.post("/auth/refresh", json={"refresh_token": ann["refresh_token"]})).status_code == 401
    assert {"erase_me", "erase_person"} <= set(await audited(members, person_id))


async def test_it_takes_a_sign_in_of_just_now_whatever_token_it_gave(members: Members) -> None:
    ann = await members.sign_in(PHONE)
    members.clock.advance(minutes=FRESH_SIGN_IN_MIN, seconds=1)
    later = (await members.post("/auth/refresh", json={"refresh_token": ann["refresh_token"]})).json()
    for language, word in (("zh-CN", "重新登录"), ("en", "Sign in again")):
        headers = {"Authorization": f"Bearer {later['access_token']}", "Accept-Language": language}
        answer = await members.delete("/me", headers=headers)
        await refused(answer, 403, "fresh_sign_in_needed")
        assert word in answer.json()["detail"]
        assert str(FRESH_SIGN_IN_MIN) in answer.json()["detail"]
    again = await members.sign_in(PHONE)
    assert again["person_id"] == ann["person_id"]
    assert (await members.bearer("DELETE", "/me", again["access_token"])).status_code == 204


async def test_whoever_comes_back_is_somebody_new(members: Members) -> None:
    ann = await members.sign_in(PHONE)
    await members.bearer("DELETE", "/me", ann["access_token"])
    again = await members.sign_in(PHONE)
    assert again["person_id"] != ann["person_id"]
    assert (await members.bearer("GET", "/me", again["access_token"])).status_code == 200


async def waiting_for_locks(members: Members, count: int) -> None:
    """Return once so many sessions wait for another one's lock."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with asyncio.timeout(30):
        while True:
            async with members.db.transaction() as session:
                if await session.scalar(text(waiting)) == count:
                    return
            await asyncio.sleep(0.01)


async def test_who_registers_and_joins_while_they_leave_has_left(members: Members) -> None:
    area = await members.area()
    organisation = await members.organisation(area)
    token = (await members.sign_in(PHONE))["access_token"]
    asks = {"/registrations": {"json": {"area_id": area}}, f"/organisations/{organisation}/members": {}}
    erasure = Erasure(members.db, PERSONAL, members.runtime.cutoffs)
    async with asyncio.TaskGroup() as group, members.db.transaction() as session:
        await erase_me(session, erasure, await members.runtime.verifier.verify(token))
        answers = [group.create_task(members.bearer("POST", path, token, **options)) for path, options in asks.items()]
        await waiting_for_locks(members, len(answers))
    assert [answer.result().status_code for answer in answers] == [401, 401]


async def test_the_last_operator_does_not_leave_another_may(staffed: Members) -> None:
    credentials = {"username": "operator", "password": OPERATOR_PASSWORD}
    first = (await staffed.post("/auth/token", json=credentials)).json()
    await refused(await staffed.bearer("DELETE", "/me", first["access_token"]), 409, "last_operator")
    second = await staffed.sign_in(PHONE)
    role = {"person_id": second["person_id"], "role": "operator"}
    assert (await staffed.post("/roles", person=operator(), json=role)).status_code == 201
    assert (await staffed.bearer("DELETE", "/me", first["access_token"])).status_code == 204
    assert (await staffed.post("/auth/token", json=credentials)).status_code == 401


async def test_an_export_shows_ones_own_phone_and_is_audited(members: Members) -> None:
    ann = await members.sign_in(PHONE)
    export = (await members.bearer("GET", "/me/export", ann["access_token"])).json()
    assert (export["phone"], export["services"]) == (PHONE, {})
    assert await audited(members, ann["person_id"]) == ["export_me"]


async def test_there_are_so_many_exports_an_hour(members: Members) -> None:
    ann = await members.sign_in(PHONE)
    for _ in range(EXPORTS_MAX):
        assert (await members.bearer("GET", "/me/export", ann["access_token"])).status_code == 200
    refusal = await members.bearer("GET", "/me/export", ann["access_token"])
    await refused(refusal, 429, "too_many_exports")
    assert int(refusal.headers["retry-after"]) > 0
    members.clock.advance(minutes=61)
    again = await members.sign_in(PHONE)
    assert (await members.bearer("GET", "/me/export", again["access_token"])).status_code == 200
