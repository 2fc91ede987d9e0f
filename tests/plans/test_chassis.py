"""The relay and the inbox find what is due by index, however much lies beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from chassis.outbox import emit
from contracts.members import PersonRegistered
from tests.chassis.toy import SERVICE
from tests.harness import Databases, ServiceUnderTest, run_service
from tests.plans.crowd import make_crowd
from tests.plans.plans import captured, require_indexes


@pytest.fixture(scope="module")
async def toy(databases: Databases, server_url: str) -> AsyncIterator[ServiceUnderTest]:
    async with run_service(SERVICE, databases) as running:
        await running.receive(PersonRegistered(person_id=uuid4(), locale="en"))
        async with running.db.transaction() as session:
            emit(session, PersonRegistered(person_id=uuid4(), locale="en"), sequence=1)
        await make_crowd(running, SERVICE, server_url)
        yield running


async def test_a_batch_of_the_relay(toy: ServiceUnderTest) -> None:
    async with captured(toy.db) as plans, toy.db.engine.connect() as connection:
        assert await toy.relay.send_batch(connection) == 300
    require_indexes(plans, "pk_outbox")


async def test_a_batch_of_the_inbox(toy: ServiceUnderTest) -> None:
    async with captured(toy.db) as plans:
        await toy.receive(*(PersonRegistered(person_id=uuid4(), locale="en") for _ in range(50)))
    require_indexes(plans)


async def test_what_is_tried_again_among_dead_letters(toy: ServiceUnderTest) -> None:
    async with captured(toy.db) as plans:
        assert await toy.inbox.retry_due() == 0
    require_indexes(plans, "pk_parked")
