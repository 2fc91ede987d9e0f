"""The public counters follow from what orders told, however often and in whichever order it is told."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.event import Envelope, Event
from contracts.orders import (
    AttendanceFact,
    AttendanceRecorded,
    AttendanceVoided,
    BookingCancelled,
    BookingConfirmed,
    BookingFact,
    BookingPlaced,
    ClaimAccepted,
    ClaimCompleted,
    ClaimProgressed,
    ClaimReleased,
    ClaimSigned,
    ReviewPosted,
)
from tests.harness import ServiceUnderTest, operator
from tests.services.catalog.stories import add_organisation, claim_fact, post_product, post_session, shown

LIVES = (
    (ClaimAccepted,),
    (ClaimAccepted, ClaimSigned, ClaimProgressed),
    (ClaimAccepted, ClaimSigned, ClaimProgressed, ClaimCompleted),
    (ClaimAccepted, ClaimReleased),
    (ClaimAccepted, ClaimSigned, ClaimReleased),
)
# One service for all examples: each makes a product of its own.
RUNS = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def envelope(catalog: ServiceUnderTest, fact: Event, sequence: int) -> Envelope[Event]:
    return Envelope(uuid4(), fact, sequence, catalog.clock())


def booking_fact(kind: type[BookingFact], session: dict[str, Any], booking_id: UUID, seats: int) -> BookingFact:
    common = {name: session[name] for name in ("product_id", "area_id", "title", "starts_at")}
    extra = {"reason": "person"} if kind is BookingCancelled else {}
    return kind.model_validate(
        {**common, "session_id": session["id"], "booking_id": booking_id, "person_id": uuid4(), "seats": seats, **extra}
    )


def attendance_fact(
    kind: type[AttendanceFact], product: dict[str, Any], attendance_id: UUID, person_id: UUID, action: str = "check_in"
) -> AttendanceFact:
    extra = {"action": action, "at": "2026-03-06T09:00:00Z", "minutes": None}
    return kind.model_validate(
        {
            "attendance_id": attendance_id,
            "person_id": person_id,
            "product_id": product["id"],
            "session_id": None,
            "booking_id": None,
            "claim_id": uuid4(),
            "area_id": product["area_id"],
            "title": product["title"],
            **(extra if kind is AttendanceRecorded else {}),
        }
    )


def review_fact(product: dict[str, Any], stars: int) -> ReviewPosted:
    return ReviewPosted.model_validate(
        {
            "review_id": uuid4(),
            "subject_type": "claim",
            "subject_id": uuid4(),
            "product_id": product["id"],
            "area_id": product["area_id"],
            "title": product["title"],
            "person_id": uuid4(),
            "stars": stars,
            "claimant_type": None,
            "claimant_id": None,
        }
    )


@RUNS
@given(lives=st.lists(st.sampled_from(LIVES), min_size=1, max_size=6), data=st.data())
async def test_claims_told_twice_and_in_any_order_count_as_told_once_in_order(catalog: ServiceUnderTest, lives, data):
    product = await post_product(catalog, await catalog.add_area(), claim_capacity=100)
    told = [
        envelope(catalog, claim_fact(kind, product, claim_id), sequence)
        for life, claim_id in zip(lives, [uuid4() for _ in lives], strict=True)
        for sequence, kind in enumerate(life, start=1)
    ]
    deliveries = data.draw(st.permutations(told + told))
    cut = data.draw(st.integers(0, len(deliveries)))
    await catalog.deliver(*deliveries[:cut])
    await catalog.deliver(*deliveries[cut:])
    now = await shown(catalog, product)
    last = [life[-1] for life in lives]
    assert now["claims_completed"] == last.count(ClaimCompleted)
    assert now["claims_active"] == last.count(ClaimAccepted) + last.count(ClaimProgressed)


async def test_claims_told_at_the_same_time_are_all_counted(catalog: ServiceUnderTest):
    product = await post_product(catalog, await catalog.add_area(), claim_capacity=100)
    told = [envelope(catalog, claim_fact(ClaimAccepted, product, uuid4()), 1) for _ in range(40)]
    await asyncio.gather(*(catalog.deliver(letter) for letter in told))
    assert (await shown(catalog, product))["claims_active"] == 40


@RUNS
@given(
    seats=st.lists(st.tuples(st.integers(1, 5), st.booleans(), st.booleans()), min_size=1, max_size=6), data=st.data()
)
async def test_seats_taken_are_those_of_the_bookings_that_stand(catalog: ServiceUnderTest, seats, data):
    product = await post_product(catalog, await catalog.add_area())
    session = await post_session(catalog, product["id"])
    told = []
    for count, is_confirmed, is_cancelled in seats:
        kinds = [BookingPlaced] + [BookingConfirmed] * is_confirmed + [BookingCancelled] * is_cancelled
        booking_id = uuid4()
        told += [
            envelope(catalog, booking_fact(kind, session, booking_id, count), sequence)
            for sequence, kind in enumerate(kinds, start=1)
        ]
    await catalog.deliver(*data.draw(st.permutations(told + told)))
    now = (await catalog.get(f"/sessions/{session['id']}")).json()
    assert now["seats_taken"] == sum(count for count, _, is_cancelled in seats if not is_cancelled)


async def test_a_participant_counts_once_and_not_at_all_when_every_attendance_is_void(catalog: ServiceUnderTest):
    product = await post_product(catalog, await catalog.add_area())
    ann, bob = uuid4(), uuid4()
    visits = [(uuid4(), ann), (uuid4(), ann), (uuid4(), bob)]
    for visit, person in visits:
        await catalog.receive(attendance_fact(AttendanceRecorded, product, visit, person, "check_out"), sequence=2)
        await catalog.receive(attendance_fact(AttendanceRecorded, product, visit, person), sequence=1)
    assert (await shown(catalog, product))["participants"] == 2
    await catalog.receive(attendance_fact(AttendanceVoided, product, *visits[0]), sequence=3)
    assert (await shown(catalog, product))["participants"] == 2
    await catalog.receive(attendance_fact(AttendanceVoided, product, *visits[1]), sequence=3)
    await catalog.receive(attendance_fact(AttendanceRecorded, product, *visits[1]), sequence=1)
    assert (await shown(catalog, product))["participants"] == 1


async def test_reviews_give_the_average_of_their_stars(catalog: ServiceUnderTest):
    product = await post_product(catalog, await catalog.add_area())
    letters = await catalog.receive(*(review_fact(product, stars) for stars in (5, 4, 4)))
    await catalog.deliver(*letters)
    now = await shown(catalog, product)
    assert (now["reviews"], now["stars_average"]) == (3, 4.33)


async def test_a_product_is_completed_with_its_last_claim_and_offered_again_with_more_capacity(
    catalog: ServiceUnderTest,
):
    product = await post_product(catalog, await catalog.add_area(), claim_capacity=2)
    for expected in ("published", "completed"):
        await catalog.receive(claim_fact(ClaimCompleted, product, uuid4()), sequence=4)
        assert (await shown(catalog, product))["status"] == expected
    answer = await catalog.patch(f"/products/{product['id']}", person=operator(), json={"claim_capacity": 3})
    assert answer.json()["status"] == "published"
    withdrawn = await catalog.post(f"/products/{product['id']}/withdraw", person=operator())
    assert withdrawn.json()["status"] == "withdrawn"
    await catalog.receive(claim_fact(ClaimCompleted, product, uuid4()), sequence=4)
    assert (await shown(catalog, product))["status"] == "withdrawn"


async def test_a_product_shows_the_organisations_whose_claims_stand(catalog: ServiceUnderTest):
    area = await catalog.add_area()
    product = await post_product(catalog, area)
    one, two = await add_organisation(catalog, area, "种子站党支部"), await add_organisation(catalog, area, "便民110")
    claims = [uuid4() for _ in range(4)]
    for claim, organisation in zip(claims, (one, one, two, None), strict=True):
        await catalog.receive(claim_fact(ClaimAccepted, product, claim, organisation))
    await catalog.receive(claim_fact(ClaimReleased, product, claims[2], two), sequence=2)
    assert (await shown(catalog, product))["claimed_by"] == [{"organisation_id": str(one), "name": "种子站党支部"}]
    [listed] = (await catalog.get("/products")).json()["items"]
    assert listed["claimed_by"][0]["name"] == "种子站党支部"


async def test_facts_about_products_that_are_not_here_do_no_harm(catalog: ServiceUnderTest):
    nowhere = {"id": str(uuid4()), "area_id": str(uuid4()), "title": "别处"}
    await catalog.receive(
        claim_fact(ClaimCompleted, nowhere, uuid4()),
        review_fact(nowhere, 5),
        attendance_fact(AttendanceRecorded, nowhere, uuid4(), uuid4()),
    )
    product = await post_product(catalog, await catalog.add_area())
    await catalog.receive(claim_fact(ClaimAccepted, product, uuid4()))
    assert (await shown(catalog, product))["claims_active"] == 1
