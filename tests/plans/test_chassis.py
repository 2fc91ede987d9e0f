"""The relay and the inbox find what is due by index, however much lies beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from sqlalchemy import func, select, text

from chassis.outbox import emit
from chassis.tables import parked
from contracts.members import PersonRegistered
from tests.chassis.toy import SERVICE
from tests.harness import Databases, ServiceUnderTest, run_service
from tests.plans.crowd import as_superuser, make_crowd
from tests.plans.plans import captured, require_indexes

WAITING = 100_000
# In PostgreSQL's units; a page read from one end of an index to a few rows costs some ten.
CHEAP = 1_000


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
    require_indexes(plans, "ix_parked_next_at")


@pytest.fixture
async def many_wait(toy: ServiceUnderTest, server_url: str) -> AsyncIterator[None]:
    """100,000 events that wait for their retry: most of things of their own, many behind one that failed first."""
    waiting = f"""
        INSERT INTO parked
            (event_id, type, partition_key, document, state, attempts, next_at, cause, fingerprint, parked_at)
        SELECT gen_random_uuid(), '{PersonRegistered.type}', CASE WHEN n % 5 = 0 THEN 'one' ELSE 'key ' || n END,
               '{{}}', 'retry', 1, CAST(:now AS timestamptz) + n * interval '1 second',
               'failed', 'waits', CAST(:now AS timestamptz)
        FROM generate_series(1, {WAITING}) AS n
    """  # noqa: S608 - of ours
    async with as_superuser(toy, server_url) as connection:
        await connection.execute(text(waiting), {"now": toy.clock()})
        await connection.execute(text("VACUUM ANALYZE parked"))
        yield
        await connection.execute(text("DELETE FROM parked WHERE fingerprint = 'waits'"))


async def test_looking_for_what_is_due_costs_nothing_while_many_wait(toy: ServiceUnderTest, many_wait: None) -> None:
    async with captured(toy.db) as plans:
        assert await toy.inbox.retry_due() == 0
        await toy.receive(PersonRegistered(person_id=uuid4(), locale="en"))
    require_indexes(plans, "ix_parked_next_at", "ix_parked_partition_key_id")
    assert max(plan.cost for plan in plans) < CHEAP


async def test_control_looking_at_all_that_waits_costs_much(toy: ServiceUnderTest, many_wait: None) -> None:
    oldest = select(func.min(parked.c.id)).where(parked.c.state == "retry").group_by(parked.c.partition_key)
    async with captured(toy.db) as plans:
        await toy.db.read(select(parked.c.id).where(parked.c.id.in_(oldest), parked.c.next_at <= toy.clock()))
    assert max(plan.cost for plan in plans) > CHEAP
