"""The audit: rows that commit with what they tell, that the application cannot change, and that operators read."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete, func, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from chassis.audit import note
from chassis.tables import audit_entries
from tests.chassis.toy import SERVICE
from tests.harness import Databases, Person, ServiceUnderTest, coordinator, operator, run_service

ENTRIES = "/services/toy/audit-entries"


async def tell(toy: ServiceUnderTest, action: str, subject: UUID | None = None, *, fail: bool = False) -> None:
    async with toy.db.transaction() as session:
        note(session, "system", action, subject or uuid4(), why=None, count=3)
        if fail:
            raise ArithmeticError


async def count(toy: ServiceUnderTest) -> int:
    async with toy.db.transaction() as session:
        return await session.scalar(select(func.count()).select_from(audit_entries)) or 0


async def test_an_entry_commits_with_what_it_tells_or_not_at_all(databases: Databases) -> None:
    async with run_service(SERVICE, databases) as toy:
        await tell(toy, "done")
        assert await count(toy) == 1
        with pytest.raises(ArithmeticError):
            await tell(toy, "undone", fail=True)
        assert await count(toy) == 1


async def test_operators_read_it_page_by_page_and_by_subject_and_nobody_else_does(databases: Databases) -> None:
    async with run_service(SERVICE, databases) as toy:
        ann = uuid4()
        for number in range(5):
            await tell(toy, f"act_{number}", ann if number % 2 else None)
        boss = operator()
        whole = (await toy.get(ENTRIES, person=boss)).json()
        assert [entry["action"] for entry in whole["items"]] == [f"act_{number}" for number in (4, 3, 2, 1, 0)]
        assert whole["items"][0]["detail"] == {"why": None, "count": "3"}
        first = (await toy.get(ENTRIES, person=boss, params={"limit": 3})).json()
        second = (await toy.get(ENTRIES, person=boss, params={"limit": 3, "cursor": first["next_cursor"]})).json()
        assert first["items"] + second["items"] == whole["items"]
        about_ann = (await toy.get(ENTRIES, person=boss, params={"subject": str(ann)})).json()
        assert [entry["action"] for entry in about_ann["items"]] == ["act_3", "act_1"]
        bad = await toy.get(ENTRIES, person=boss, params={"subject": "ann"})
        assert (bad.status_code, bad.json()["errors"][0]["field"]) == (422, "query.subject")
        for person, status in ((None, 401), (Person(), 403), (coordinator(uuid4()), 403)):
            assert (await toy.get(ENTRIES, person=person)).status_code == status


CHANGES = (
    update(audit_entries).values(actor="nobody"),
    delete(audit_entries),
    text("TRUNCATE audit_entries"),
    text("ALTER TABLE audit_entries DISABLE TRIGGER ALL"),
    text("DROP TABLE audit_entries"),
)


async def test_the_applications_role_changes_no_entry(databases: Databases) -> None:
    async with run_service(SERVICE, databases) as toy:
        await tell(toy, "done")
        for change in CHANGES:
            with pytest.raises(DBAPIError, match=r"permission denied|must be owner"):
                async with toy.db.transaction() as session:
                    await session.execute(change)
        assert await count(toy) == 1


async def test_control_the_owner_could_change_them(databases: Databases) -> None:
    owner = create_async_engine((await databases.template(SERVICE)).migrator)
    try:
        for change in CHANGES:
            async with owner.connect() as connection:
                await connection.execute(change)
                await connection.rollback()
    finally:
        await owner.dispose()
