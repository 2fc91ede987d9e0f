"""Notify: inboxes, streams and what is due to be sent are read by index."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from contracts.members import PersonRegistered
from services.notify.app import SERVICE
from services.notify.streams import follow, start_position
from services.notify.wakes import Wakes
from tests.harness import Databases, Person, ServiceUnderTest, run_service
from tests.plans.crowd import make_crowd
from tests.plans.plans import captured, require_indexes
from tests.services.notify.samples import Members, confirmed, eventually

ANN = Person()


@pytest.fixture(scope="module")
async def notify(databases: Databases, server_url: str) -> AsyncIterator[ServiceUnderTest]:
    async with run_service(SERVICE, databases, members=Members().transport) as running:
        someone = Person()
        await running.receive(PersonRegistered(person_id=uuid4(), locale="en"), confirmed(someone.id))
        await sent(running, someone)
        await make_crowd(running, SERVICE, server_url)
        await running.receive(confirmed(ANN.id))
        yield running


async def test_a_message(notify: ServiceUnderTest) -> None:
    async with captured(notify.db) as plans:
        await notify.receive(confirmed(ANN.id))
    require_indexes(plans, "pk_streams")


async def test_a_page_of_messages(notify: ServiceUnderTest) -> None:
    async with captured(notify.db) as plans:
        assert (await notify.get("/me/messages", person=ANN)).json()["items"]
        assert (await notify.get("/me/messages?unread=true", person=ANN)).json()["items"]
    require_indexes(plans, "ix_messages_person_id_id", "ix_messages_unread")


async def test_what_is_new_on_a_stream(notify: ServiceUnderTest) -> None:
    async with captured(notify.db) as plans:
        async with notify.db.transaction() as session:
            assert await start_position(session, ANN.id, None)
        async for items in follow(notify.db, Wakes(), ANN.id, 0, lambda: True):
            assert items
            break
    require_indexes(plans, "pk_streams", "pk_stream_items")


async def test_what_is_due_to_be_sent(notify: ServiceUnderTest) -> None:
    person = Person()
    async with captured(notify.db) as plans:
        await notify.receive(confirmed(person.id))
        await sent(notify, person)
    require_indexes(plans, "ix_deliveries_due_at", "pk_deliveries", "ix_deliveries_person_id_id")


async def sent(notify: ServiceUnderTest, person: Person) -> None:
    """Return once what the person was sent has left."""

    async def look() -> bool:
        items = (await notify.get("/me/deliveries", person=person)).json()["items"]
        return [item["state"] for item in items] == ["sent"]

    await eventually(look)
