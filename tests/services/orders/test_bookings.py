from uuid import uuid4

import pytest

from chassis.tokens import Grant
from contracts.catalog import ProductWithdrawn, SessionCancelled, SessionChanged
from contracts.orders import BookingCancelled, BookingConfirmed, BookingPlaced, BookingWaitlisted
from services.orders.app import SERVICE
from services.orders.tickets import TICKET_ALPHABET, as_printed
from tests.harness import Databases, Person, coordinator, operator, run_service
from tests.services.orders.scenes import offer_product, offer_session, refusal, seats, session_of


async def test_a_party_takes_its_seats_all_at_once_and_gets_a_ticket(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        scheduled = await offer_session(orders)
        ann = Person()
        answer = await orders.post(f"/sessions/{scheduled.session_id}/bookings", person=ann, json={"seats": 4})
        assert answer.status_code == 201, answer.text
        booking = answer.json()
        assert (booking["status"], booking["seats"], booking["position"]) == ("confirmed", 4, None)
        assert booking["title"] == scheduled.title
        assert booking["starts_at"] == "2026-03-04T08:00:00Z"
        assert booking["ticket"]["valid"]
        assert len(booking["ticket"]["code"]) == 8
        assert set(booking["ticket"]["code"]) <= set(TICKET_ALPHABET)
        [fact] = await orders.envelopes(BookingConfirmed)
        assert (str(fact.data.booking_id), fact.data.seats, fact.sequence) == (booking["id"], 4, 1)
        assert await seats(orders, scheduled.session_id) == (4, 4, 10)
        assert (await orders.get(f"/bookings/{booking['id']}", person=ann)).json() == booking
        assert (await orders.get("/me/bookings", person=ann)).json()["items"] == [booking]


async def test_a_booking_is_nobody_elses_business(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        scheduled = await offer_session(orders)
        ann, eve, cora = Person(), Person(), coordinator(scheduled.area_id)
        path = f"/sessions/{scheduled.session_id}/bookings"
        booking = (await orders.post(path, person=ann, json={"seats": 1})).json()
        one = f"/bookings/{booking['id']}"

        assert (await orders.get(one)).status_code == 401
        assert (await orders.get(one, person=eve)).status_code == 404
        assert (await orders.post(f"{one}/cancel", person=eve)).status_code == 404
        assert (await orders.post(f"{one}/confirm", person=eve)).status_code == 404
        assert (await orders.post(f"{one}/confirm", person=ann)).status_code == 403
        assert (await orders.get(path, person=ann)).status_code == 403
        assert (await orders.get(path, person=coordinator(uuid4()))).status_code == 403
        assert (await orders.get(one, person=coordinator(uuid4()))).status_code == 404
        assert (await orders.get(one, person=cora)).json() == booking
        assert (await orders.get(path, person=cora)).json()["items"] == [booking]
        assert refusal(await orders.get(f"/sessions/{uuid4()}/bookings", person=cora)) == (404, "not_arrived")
        assert (await orders.get("/me/bookings", person=eve)).json()["items"] == []


async def test_a_full_session_puts_the_party_on_the_waiting_list_and_a_cancellation_lets_it_in(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        scheduled = await offer_session(orders, capacity=5)
        path = f"/sessions/{scheduled.session_id}/bookings"
        ann, bob, cem = Person(), Person(), Person()
        first = (await orders.post(path, person=ann, json={"seats": 4})).json()
        waiting = (await orders.post(path, person=bob, json={"seats": 2})).json()
        behind = (await orders.post(path, person=cem, json={"seats": 5})).json()
        assert (waiting["status"], waiting["position"], waiting["ticket"]["valid"]) == ("waitlisted", 1, False)
        assert (behind["status"], behind["position"]) == ("waitlisted", 2)
        assert [fact.position for fact in await orders.emitted(BookingWaitlisted)] == [1, 2]

        cancelled = (await orders.post(f"/bookings/{first['id']}/cancel", person=ann)).json()
        assert (cancelled["status"], cancelled["ticket"]["valid"]) == ("cancelled", False)
        moved = (await orders.get(f"/bookings/{waiting['id']}", person=bob)).json()
        assert (moved["status"], moved["position"], moved["version"]) == ("confirmed", None, 2)
        assert (await orders.get(f"/bookings/{behind['id']}", person=cem)).json()["position"] == 1
        assert await seats(orders, scheduled.session_id) == (2, 2, 5)
        [fact] = await orders.emitted(BookingCancelled)
        assert (fact.reason, fact.person_id) == ("person", ann.id)
        assert [e.sequence for e in await orders.envelopes(BookingConfirmed)] == [1, 2]

        assert (await orders.post(f"/bookings/{first['id']}/cancel", person=ann)).json() == cancelled
        assert len(await orders.emitted(BookingCancelled)) == 1
        assert (await orders.post(path, person=ann, json={"seats": 1})).json()["status"] == "confirmed"


async def test_one_live_booking_for_each_person_and_session(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        scheduled = await offer_session(orders, capacity=1)
        path = f"/sessions/{scheduled.session_id}/bookings"
        ann, bob = Person(), Person()
        first = await orders.post(path, person=ann, json={"seats": 1}, key="k")
        assert (await orders.post(path, person=ann, json={"seats": 1}, key="k")).json() == first.json()
        assert refusal(await orders.post(path, person=ann, json={"seats": 2}, key="k")) == (422, "key_reused")
        assert refusal(await orders.post(path, person=ann, json={"seats": 1})) == (409, "already_booked")
        assert (await orders.post(path, person=bob, json={"seats": 1})).json()["status"] == "waitlisted"
        assert refusal(await orders.post(path, person=bob, json={"seats": 1})) == (409, "already_booked")


async def test_a_party_larger_than_the_session_is_refused(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        scheduled = await offer_session(orders, capacity=5)
        answer = await orders.post(
            f"/sessions/{scheduled.session_id}/bookings",
            person=Person(),
            json={"seats": 6},
            headers={"Accept-Language": "en"},
        )
        assert refusal(answer) == (409, "party_too_large")
        assert "5 seats" in answer.json()["detail"]


@pytest.mark.parametrize(
    "body", [{}, {"seats": 0}, {"seats": 51}, {"seats": "two"}, {"seats": 1, "x": 1}, {"seats": 1.5}]
)
async def test_bad_input_is_named(databases: Databases, body: dict[str, object]):
    async with run_service(SERVICE, databases) as orders:
        answer = await orders.post(f"/sessions/{uuid4()}/bookings", person=Person(), json=body)
        assert refusal(answer) == (422, "invalid_input")


async def test_booking_closes_with_time_with_the_session_and_with_its_product(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        scheduled = await offer_session(orders)
        path = f"/sessions/{scheduled.session_id}/bookings"
        ann = Person()
        booked = (await orders.post(path, person=ann, json={"seats": 1})).json()
        orders.clock.advance(hours=47)
        assert refusal(await orders.post(path, person=Person(), json={"seats": 1})) == (409, "booking_closed")
        orders.clock.advance(hours=1)
        assert refusal(await orders.post(f"/bookings/{booked['id']}/cancel", person=ann)) == (409, "booking_closed")

        other = await offer_session(orders)
        gone = ProductWithdrawn(product_id=other.product_id, area_id=other.area_id, title=other.title)
        await orders.receive(gone, sequence=2)
        answer = await orders.post(f"/sessions/{other.session_id}/bookings", person=ann, json={"seats": 1})
        assert refusal(answer) == (409, "booking_closed")
        answer = await orders.post(f"/sessions/{uuid4()}/bookings", person=ann, json={"seats": 1})
        assert refusal(answer) == (404, "not_arrived")


async def test_where_a_coordinator_confirms_seats_are_taken_and_the_ticket_waits(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        organisation_id = uuid4()
        offered = await offer_product(orders, organisation_id=organisation_id)
        scheduled = session_of(offered, orders, confirmation="coordinator", capacity=2)
        await orders.receive(scheduled)
        path = f"/sessions/{scheduled.session_id}/bookings"
        ann, bob = Person(), Person()
        booking = (await orders.post(path, person=ann, json={"seats": 2})).json()
        waiting = (await orders.post(path, person=bob, json={"seats": 1})).json()
        assert (booking["status"], booking["ticket"]["valid"]) == ("pending", False)
        assert len(await orders.emitted(BookingPlaced)) == 1
        assert await orders.emitted(BookingConfirmed) == []
        assert await seats(orders, scheduled.session_id) == (2, 2, 2)

        staff = Person(grants=(Grant(role="organisation_admin", organisation_id=organisation_id),))
        still = await orders.post(f"/bookings/{waiting['id']}/confirm", person=staff)
        assert refusal(still) == (409, "still_waiting")
        confirmed = (await orders.post(f"/bookings/{booking['id']}/confirm", person=staff)).json()
        assert (confirmed["status"], confirmed["ticket"]["valid"], confirmed["version"]) == ("confirmed", True, 2)
        assert (await orders.post(f"/bookings/{booking['id']}/confirm", person=operator())).json() == confirmed
        assert [e.sequence for e in await orders.envelopes(BookingConfirmed)] == [2]

        cora = coordinator(offered.area_id)
        await orders.post(f"/bookings/{booking['id']}/cancel", person=cora)
        [fact] = await orders.emitted(BookingCancelled)
        assert fact.reason == "coordinator"
        over = await orders.post(f"/bookings/{booking['id']}/confirm", person=cora)
        assert refusal(over) == (409, "booking_ended")
        assert (await orders.get(f"/bookings/{waiting['id']}", person=bob)).json()["status"] == "pending"


async def test_a_cancelled_session_cancels_every_live_booking_once(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        scheduled = await offer_session(orders, capacity=2)
        path = f"/sessions/{scheduled.session_id}/bookings"
        people = [Person() for _ in range(3)]
        for person in people:
            await orders.post(path, person=person, json={"seats": 1})
        gone = SessionCancelled(
            **{name: getattr(scheduled, name) for name in ("session_id", "product_id", "area_id", "title")},
            reason="下雨",
        )
        [envelope] = await orders.receive(gone, sequence=2)
        await orders.deliver(envelope, envelope)
        await orders.receive(SessionChanged(**scheduled.model_dump()), sequence=1)

        assert sorted(fact.person_id for fact in await orders.emitted(BookingCancelled)) == sorted(p.id for p in people)
        assert {fact.reason for fact in await orders.emitted(BookingCancelled)} == {"session_cancelled"}
        assert await seats(orders, scheduled.session_id) == (0, 0, 2)
        assert refusal(await orders.post(path, person=Person(), json={"seats": 1})) == (409, "booking_closed")


async def test_a_session_cancelled_before_anybody_heard_of_it_stays_cancelled(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        scheduled = session_of(await offer_product(orders), orders)
        gone = SessionCancelled(
            **{name: getattr(scheduled, name) for name in ("session_id", "product_id", "area_id", "title")},
            reason="下雨",
        )
        await orders.receive(gone, sequence=2)
        await orders.receive(scheduled, sequence=1)
        answer = await orders.post(f"/sessions/{scheduled.session_id}/bookings", person=Person(), json={"seats": 1})
        assert refusal(answer) == (409, "booking_closed")


def test_a_ticket_may_be_typed_as_people_type():
    assert as_printed(" ab-cd 23 45") == "ABCD2345"
