"""How a service is, for operators: the same figures as Prometheus gets."""

from __future__ import annotations

from uuid import uuid4

import pytest

from chassis.outbox import emit
from contracts.members import PersonRegistered
from tests.chassis.parts import registered
from tests.chassis.toy import SERVICE
from tests.harness import Databases, Person, coordinator, operator, run_service

STATUS = "/services/toy/status"


async def test_operators_see_what_waits(databases: Databases) -> None:
    async with run_service(SERVICE, databases) as toy:
        async with toy.db.transaction() as session:
            emit(session, PersonRegistered(person_id=uuid4(), locale="en"), sequence=1)
        await toy.deliver(registered(locale="poison"))
        await toy.inbox.bury(["no event"])
        toy.clock.advance(seconds=30)
        answer = await toy.get(STATUS, person=operator())
        assert answer.json() == {
            "service": "toy",
            "outbox_rows": 1,
            "outbox_age_s": 30.0,
            "retries_waiting": 1,
            "dead_letters": 1,
            "bus_trouble": False,
            "figures": {},
        }


@pytest.mark.parametrize("person", [None, Person(), coordinator(uuid4())])
async def test_nobody_else_does(databases: Databases, person: Person | None) -> None:
    async with run_service(SERVICE, databases) as toy:
        assert (await toy.get(STATUS, person=person)).status_code == (401 if person is None else 403)
