"""Copies take over only what is newer, in whatever order and however often it comes."""

import random
from uuid import uuid4

from sqlalchemy import select

from contracts.catalog import CentreStock, ProductChanged, ProductWithdrawn, RewardPublished, SessionChanged
from contracts.event import Envelope
from contracts.members import CentreOpened, MembershipConfirmed
from services.orders.app import SERVICE
from services.orders.models import Centre, Membership, ProductOffer, RewardOffer, SessionOffer
from tests.harness import Databases, run_service
from tests.services.orders.scenes import administrator, as_organisation, offer_product, product, refusal, session_of


async def test_a_product_withdrawn_before_it_was_published_ends_withdrawn(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        published = product(await orders.add_area())
        gone = ProductWithdrawn(product_id=published.product_id, area_id=published.area_id, title=published.title)
        await orders.receive(gone, sequence=2)
        await orders.receive(published, sequence=1)
        async with orders.db.transaction() as session:
            offer = await session.get_one(ProductOffer, published.product_id)
            assert (offer.open, offer.sequence) == (False, 2)
        await orders.receive(published, sequence=3)
        async with orders.db.transaction() as session:
            assert (await session.get_one(ProductOffer, published.product_id)).open


async def test_in_any_order_and_any_number_of_times_the_newest_version_wins(databases: Databases):
    chance = random.Random(3)
    async with run_service(SERVICE, databases) as orders:
        published = product(await orders.add_area())
        scheduled = session_of(published, orders)
        facts = [
            *(
                Envelope(uuid4(), ProductChanged(**{**published.model_dump(), "claim_capacity": n}), n, orders.clock())
                for n in range(1, 11)
            ),
            *(
                Envelope(uuid4(), SessionChanged(**{**scheduled.model_dump(), "capacity": n}), n, orders.clock())
                for n in range(1, 11)
            ),
        ]
        for _ in range(4):
            await orders.deliver(*chance.sample(facts, 15))
        await orders.deliver(*chance.sample(facts, 20))
        async with orders.db.transaction() as session:
            offer = await session.get_one(ProductOffer, published.product_id)
            assert (offer.claim_total, offer.claim_limit, offer.sequence) == (10, 10, 10)
            kept = await session.get_one(SessionOffer, scheduled.session_id)
            assert (kept.seat_total, kept.seat_limit, kept.sequence) == (10, 10, 10)


async def test_lowering_a_capacity_takes_nothing_back_and_lets_nobody_in(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        offered = await offer_product(orders, claim_capacity=3)
        path = f"/products/{offered.product_id}/claims"
        organisations = [uuid4() for _ in range(3)]
        claims = [
            (await orders.post(path, person=administrator(one), json=as_organisation(one))).json()
            for one in organisations
        ]
        await orders.receive(ProductChanged(**{**offered.model_dump(), "claim_capacity": 1}), sequence=2)
        await orders.post(f"/claims/{claims[0]['id']}/release", person=administrator(organisations[0]))

        late = uuid4()
        answer = await orders.post(path, person=administrator(late), json=as_organisation(late))
        assert refusal(answer) == (409, "sold_out"), "two still hold places of one"
        for one, claim in zip(organisations[1:], claims[1:], strict=True):
            await orders.post(f"/claims/{claim['id']}/release", person=administrator(one))
        assert (await orders.post(path, person=administrator(late), json=as_organisation(late))).status_code == 201


async def test_a_rewards_stock_is_kept_for_each_centre(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        reward_id, one, two = uuid4(), uuid4(), uuid4()

        def published(cost: int, **stock: int) -> RewardPublished:
            centres = [CentreStock(centre_id=one if name == "one" else two, total=n) for name, n in stock.items()]
            return RewardPublished(reward_id=reward_id, area_id=uuid4(), title="雨伞", cost_points=cost, stock=centres)

        async def stock() -> dict[object, tuple[int, int, int]]:
            async with orders.db.transaction() as session:
                rows = (await session.scalars(select(RewardOffer).where(RewardOffer.reward_id == reward_id))).all()
                return {row.centre_id: (row.cost_points, row.stock_total, row.stock_limit) for row in rows}

        await orders.receive(published(50, one=5, two=3), sequence=1)
        assert await stock() == {one: (50, 5, 5), two: (50, 3, 3)}
        async with orders.db.transaction() as session:
            (await session.get_one(RewardOffer, (reward_id, two))).stock_taken = 2
        await orders.receive(published(60, one=9), sequence=3)
        assert await stock() == {one: (60, 9, 9), two: (50, 0, 2)}
        await orders.receive(published(10, one=1, two=1), sequence=2)
        assert await stock() == {one: (60, 9, 9), two: (50, 0, 2)}, "an older version is not applied"


async def test_centres_and_memberships_are_kept_once(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        centre = CentreOpened(centre_id=uuid4(), area_id=uuid4(), name="党群服务中心", address="玉林北路 1 号")
        joined = MembershipConfirmed(membership_id=uuid4(), organisation_id=uuid4(), person_id=uuid4())
        envelopes = await orders.receive(centre, joined)
        await orders.deliver(*envelopes, *envelopes)
        async with orders.db.transaction() as session:
            assert len((await session.scalars(select(Centre))).all()) == 1
            assert len((await session.scalars(select(Membership))).all()) == 1
