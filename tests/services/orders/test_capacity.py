"""Capacity is exact, however many ask at once and at however many copies of the service."""

import asyncio
import random
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID, uuid4

import httpx
from sqlalchemy import func, select

from chassis.batching import GroupCommit
from chassis.errors import Refusal
from chassis.idempotency import IdempotencyKey
from chassis.tokens import Principal
from chassis.world import World
from contracts.orders import BookingConfirmed, ClaimAccepted
from services.orders.app import SERVICE
from services.orders.bookings import BookingRequest
from services.orders.claim_views import Claimant, ClaimView
from services.orders.claims import ClaimRequest
from services.orders.leases import release_claim, release_expired
from services.orders.models import Claim, ProductOffer
from services.orders.refusals import SoldOut
from tests.harness import Clock, Databases, ServiceUnderTest, run_service
from tests.services.orders.scenes import (
    administrator,
    as_organisation,
    offer_product,
    offer_session,
    places,
    refusal,
    seats,
)


@asynccontextmanager
async def two_copies(databases: Databases, world: World | None = None):
    """Two copies of orders on one database."""
    url = await databases.fresh(SERVICE)
    async with (
        run_service(SERVICE, databases, database_url=url, world=world) as one,
        run_service(SERVICE, databases, database_url=url, world=world) as two,
    ):
        yield one, two


def request_for(product_id: UUID, claimant_id: UUID | None = None) -> ClaimRequest:
    who = claimant_id or uuid4()
    key = IdempotencyKey(who, "POST /claims", uuid4().hex, "same")
    return ClaimRequest(product_id, Claimant(type="organisation", id=who), who, key)


async def test_of_5000_claims_at_once_exactly_as_many_are_accepted_as_there_are_places(databases: Databases):
    async with two_copies(databases) as copies:
        offered = await offer_product(copies[0], claim_capacity=100)
        batches: list[GroupCommit[ClaimRequest, ClaimView]] = [copy.app.state.parts.claims for copy in copies]

        answers = await asyncio.gather(
            *(batches[n % 2].submit(request_for(offered.product_id)) for n in range(5000)), return_exceptions=True
        )

        accepted = [answer for answer in answers if isinstance(answer, ClaimView)]
        assert len(accepted) == 100
        assert all(isinstance(answer, ClaimView | SoldOut) for answer in answers)
        assert await places(copies[0], offered.product_id) == (100, 100)
        assert len(await copies[0].emitted(ClaimAccepted)) == 100


async def test_control_without_the_lock_more_are_accepted(databases: Databases):
    async with two_copies(databases) as copies:
        offered = await offer_product(copies[0], claim_capacity=20)

        async def look_then_insert(copy: ServiceUnderTest) -> None:
            async with copy.db.transaction() as session:
                offer = await session.get_one(ProductOffer, offered.product_id)
                mine = select(func.count()).select_from(Claim).where(Claim.product_id == offered.product_id)
                if (await session.scalar(mine) or 0) < offer.claim_limit:
                    await asyncio.sleep(0.1)  # meanwhile others have looked, too
                    session.add(a_claim_of(offer, copy.clock()))

        await asyncio.gather(*(look_then_insert(copies[n % 2]) for n in range(100)))
        _, held = await places(copies[0], offered.product_id)
        assert held > 20


def a_claim_of(offer: ProductOffer, now: object) -> Claim:
    return Claim(
        id=uuid4(),
        product_id=offer.product_id,
        area_id=offer.area_id,
        title=offer.title,
        claimant_type="organisation",
        claimant_id=uuid4(),
        person_id=uuid4(),
        status="accepted",
        lease_until=now,
        created_at=now,
        version=1,
    )


async def test_after_500_random_claims_releases_and_expiries_the_count_is_that_of_the_claims(databases: Databases):
    clock, chance = Clock(), random.Random(7)
    async with two_copies(databases, World(now=clock)) as copies:
        offered = await offer_product(copies[0], claim_capacity=12, lease_hours=1)
        claimants = [uuid4() for _ in range(30)]
        held: dict[UUID, UUID] = {}
        most = 0

        async def claim(copy: ServiceUnderTest, claimant_id: UUID) -> None:
            try:
                made = await copy.app.state.parts.claims.submit(request_for(offered.product_id, claimant_id))
                held[claimant_id] = made.id
            except Refusal:
                pass

        async def release(copy: ServiceUnderTest, claimant_id: UUID) -> None:
            claim_id = held.get(claimant_id)
            if claim_id is not None:
                principal = Principal(
                    claimant_id, claimant_id, administrator(claimant_id).grants, clock(), clock() + timedelta(hours=1)
                )
                async with copy.db.transaction() as session:
                    await release_claim(session, principal, claim_id)

        for _ in range(50):
            work = []
            for _ in range(10):
                act = chance.choices((claim, release), (3, 2))[0]
                work.append(act(chance.choice(copies), chance.choice(claimants)))
            if chance.random() < 0.2:
                clock.advance(minutes=25)
                work += [release_expired(copy.db) for copy in copies]
            await asyncio.gather(*work)
            counted, active = await places(copies[0], offered.product_id)
            assert counted == active <= 12
            most = max(most, active)
        assert most == 12, "the test has to reach the capacity to say anything"


async def test_20_keys_sent_20_times_at_once_have_20_effects_and_the_same_answers(databases: Databases):
    async with two_copies(databases) as copies:
        offered = await offer_product(copies[0], claim_capacity=100)
        path = f"/products/{offered.product_id}/claims"
        everybody = [uuid4() for _ in range(20)]
        for start in range(0, 20, 5):
            organisations = everybody[start : start + 5]
            answers = await asyncio.gather(
                *(until_decided(copies[n % 2], path, one) for one in organisations for n in range(20))
            )
            assert {answer.status_code for answer in answers} == {201}
            assert len({answer.text for answer in answers}) == 5
        assert await places(copies[0], offered.product_id) == (20, 20)
        elsewhere, one = await offer_product(copies[0]), everybody[0]
        path = f"/products/{elsewhere.product_id}/claims"
        other = await copies[0].post(path, person=administrator_of(one), json=as_organisation(one), key=f"key-{one}")
        assert refusal(other) == (422, "key_reused")


async def until_decided(copy: ServiceUnderTest, path: str, one: UUID) -> httpx.Response:
    """As a client does: 503 (a busy machine, no connection free) is asked again with the same key."""
    while True:
        answer = await copy.post(path, person=administrator_of(one), json=as_organisation(one), key=f"key-{one}")
        if answer.status_code != 503:
            return answer


def administrator_of(organisation_id: UUID):
    """The same person each time: the key belongs to them."""
    person = administrator(organisation_id)
    return type(person)(id=organisation_id, grants=person.grants)


async def test_of_600_parties_at_once_seats_are_never_given_twice(databases: Databases):
    async with two_copies(databases) as copies:
        scheduled = await offer_session(copies[0], capacity=100)
        batches = [copy.app.state.parts.bookings for copy in copies]

        def request(n: int) -> BookingRequest:
            key = IdempotencyKey(uuid4(), "POST /bookings", uuid4().hex, "same")
            return BookingRequest(scheduled.session_id, 1 + n % 3, key.person_id, key)

        answers = await asyncio.gather(*(batches[n % 2].submit(request(n)) for n in range(600)))
        given = sum(answer.seats for answer in answers if answer.status == "confirmed")
        waiting = sorted(answer.position for answer in answers if answer.status == "waitlisted")
        assert given == 100
        assert waiting == list(range(1, len(waiting) + 1))
        assert await seats(copies[0], scheduled.session_id) == (100, 100, 100)
        assert len({answer.ticket.code for answer in answers}) == 600
        assert sum(fact.seats for fact in await copies[0].emitted(BookingConfirmed)) == 100
