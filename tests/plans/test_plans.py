"""The checks of plans see what they are for: a dropped index, and a block in which nothing was asked."""

from __future__ import annotations

import pytest
from sqlalchemy import select, text

from tests.chassis.toy import SERVICE, Note
from tests.harness import Databases, Person, run_service
from tests.plans.crowd import as_superuser, make_crowd
from tests.plans.plans import captured, require_indexes


async def test_control_without_its_index_a_look_up_is_seen_to_read_the_table(databases: Databases, server_url: str):
    async with run_service(SERVICE, databases) as toy:
        assert (await toy.post("/notes", person=Person(), json={"said": "hi"})).status_code == 201
        await make_crowd(toy, SERVICE, server_url)
        async with captured(toy.db) as found, toy.db.transaction() as session:
            await session.execute(select(Note).where(Note.id == Person().id))
        require_indexes(found, "pk_notes")
        with pytest.raises(AssertionError, match="not used"):
            require_indexes(found, "pk_notes", "ix_another")
        async with as_superuser(toy, server_url) as connection:
            await connection.execute(text("ALTER TABLE notes DROP CONSTRAINT pk_notes"))
        async with captured(toy.db) as found, toy.db.transaction() as session:
            await session.execute(select(Note).where(Note.id == Person().id))
        with pytest.raises(AssertionError, match=r"reads all of \{'notes'\}"):
            require_indexes(found)


def test_control_a_block_in_which_nothing_was_asked_proves_nothing():
    with pytest.raises(AssertionError, match="nothing was captured"):
        require_indexes([])
