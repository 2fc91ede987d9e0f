"""After a sign-out or a revoked role the earlier tokens are refused, in every copy of every service."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from chassis.cutoffs import forget_old_cutoffs
from chassis.tables import token_cutoffs
from chassis.tokens import ACCESS_TOKEN_S
from contracts.members import RoleRevoked, SignedOut
from tests.chassis.parts import count_of
from tests.chassis.toy import SERVICE
from tests.harness import Databases, ServiceUnderTest, run_service

PERSON = uuid4()


async def status(toy: ServiceUnderTest, session: UUID, issued: datetime, person: UUID = PERSON) -> int:
    token = toy.signer.access_token(person, session, [], issued)
    return (await toy.client.get("/api/v1/notes", headers={"Authorization": f"Bearer {token}"})).status_code


def revoked(person: UUID = PERSON) -> RoleRevoked:
    return RoleRevoked(role_id=uuid4(), person_id=person, role="coordinator")


async def test_a_revoked_role_refuses_earlier_tokens_and_takes_later_ones(databases: Databases) -> None:
    async with run_service(SERVICE, databases) as toy:
        session, before = uuid4(), toy.clock()
        assert await status(toy, session, before) == 200
        toy.clock.advance(seconds=10)
        await toy.receive(revoked())
        assert await status(toy, session, before) == 401
        assert await status(toy, uuid4(), toy.clock()) == 401, "of the same moment: better refused"
        assert await status(toy, session, before, person=uuid4()) == 200
        toy.clock.advance(seconds=1)
        assert await status(toy, session, toy.clock()) == 200


async def test_an_older_revocation_that_arrives_late_changes_nothing(databases: Databases) -> None:
    async with run_service(SERVICE, databases) as toy:
        session, before = uuid4(), toy.clock()
        toy.clock.advance(seconds=10)
        await toy.receive(revoked())
        toy.clock.advance(seconds=-5)
        await toy.receive(revoked())
        toy.clock.advance(seconds=6)
        assert await status(toy, session, before + timedelta(seconds=9)) == 401
        await toy.runtime.cutoffs.refresh()
        assert await status(toy, session, before + timedelta(seconds=9)) == 401
        assert await status(toy, session, toy.clock()) == 200


async def test_a_sign_out_refuses_every_token_of_its_session_and_no_other(databases: Databases) -> None:
    async with run_service(SERVICE, databases) as toy:
        gone, other = uuid4(), uuid4()
        before = toy.clock()
        toy.clock.advance(seconds=10)
        await toy.receive(SignedOut(session_id=gone, person_id=PERSON))
        for later in (0, 1, ACCESS_TOKEN_S // 2):
            toy.clock.advance(seconds=later)
            assert await status(toy, gone, toy.clock()) == 401
        assert await status(toy, gone, before) == 401
        assert await status(toy, other, toy.clock()) == 200


async def test_other_copies_know_after_their_refresh_and_a_new_one_from_the_start(databases: Databases) -> None:
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(run_service(SERVICE, databases))
        second = await stack.enter_async_context(run_service(SERVICE, databases, database_url=first.db.url))
        session, before = uuid4(), first.clock()
        assert await status(second, session, before) == 200
        await first.receive(revoked())
        assert await status(first, session, before) == 401
        assert await status(second, session, before) == 200, "not yet"
        await second.runtime.cutoffs.refresh()
        assert await status(second, session, before) == 401


async def test_a_cut_off_that_rolled_back_is_none(databases: Databases) -> None:
    async with run_service(SERVICE, databases) as toy:
        [handler] = [handle for kind, handle in toy.runtime.cutoffs.handlers().items() if kind is RoleRevoked]
        [envelope] = await toy.receive(revoked(uuid4()))
        fact = type(envelope)(uuid4(), revoked(), 1, toy.clock())
        try:
            async with toy.db.transaction() as session:
                await handler(session, [fact])
                raise ArithmeticError
        except ArithmeticError:
            pass
        assert await status(toy, uuid4(), toy.clock()) == 200


async def test_cut_offs_are_forgotten_when_every_token_has_outlived_them(databases: Databases) -> None:
    async with run_service(SERVICE, databases) as toy:
        await toy.receive(revoked(), SignedOut(session_id=uuid4(), person_id=PERSON))

        async def left() -> int:
            async with toy.db.transaction() as session:
                await forget_old_cutoffs(session, toy.clock())
            return await count_of(toy.db, token_cutoffs)

        toy.clock.advance(seconds=ACCESS_TOKEN_S + 10)
        assert await left() == 2
        toy.clock.advance(seconds=3 * ACCESS_TOKEN_S)
        assert await left() == 0
