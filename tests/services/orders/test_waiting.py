"""The waiting list: nobody starves, and no seat stays empty that the first in line could use."""

import random
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from contracts.catalog import SessionChanged
from contracts.orders import BookingConfirmed
from services.orders.app import SERVICE
from services.orders.models import Booking, SessionOffer
from services.orders.waiting import OVERTAKES_MAX, move_up
from tests.harness import Databases, Person, ServiceUnderTest, run_service
from tests.services.orders.scenes import offer_session, seats


@dataclass(eq=False)
class Waiting:
    seats: int
    overtaken: int = 0


lines = st.lists(st.builds(Waiting, st.integers(1, 10), st.integers(0, OVERTAKES_MAX)), max_size=20)


@given(lines, st.integers(0, 20))
def test_who_moves_up_fits_and_nobody_is_overtaken_once_too_often(waiting: list[Waiting], free: int):
    before = [party.overtaken for party in waiting]
    moved = move_up(waiting, free)
    left = [party for party in waiting if party not in moved]

    assert sum(party.seats for party in moved) <= free
    assert moved == [party for party in waiting if party in moved], "in order of arrival"
    for index, party in enumerate(waiting):
        overtakers = [] if party in moved else [other for other in waiting[index:] if other in moved]
        assert party.overtaken == before[index] + len(overtakers) <= OVERTAKES_MAX
    if waiting and waiting[0].seats <= free:
        assert waiting[0] in moved
    assert move_up(left, free - sum(party.seats for party in moved)) == [], "nothing is left to do"


def greedy(waiting: list[Waiting], free: int) -> list[Waiting]:
    """The control: whoever fits gets in."""
    moved = []
    for party in waiting:
        if party.seats <= free:
            free -= party.seats
            moved.append(party)
    return moved


def rounds_until_the_large_party_gets_in(choose) -> int | None:
    """A party of 4 waits for a session of 4 where one seat at a time comes free and there is always a single behind."""
    line, free = [Waiting(4)], 0
    for turn in range(1, 100):
        free += 1
        line.append(Waiting(1))
        moved = choose(line, free)
        if any(party.seats == 4 for party in moved):
            return turn
        free -= sum(party.seats for party in moved)
        line = [party for party in line if party not in moved]
    return None


def test_a_large_party_gets_in_and_the_control_lets_it_starve():
    assert rounds_until_the_large_party_gets_in(move_up) == OVERTAKES_MAX + 4
    assert rounds_until_the_large_party_gets_in(greedy) is None


async def test_a_party_that_comes_later_overtakes_no_oftener_than_the_list_allows(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        scheduled = await offer_session(orders, capacity=10)
        path = f"/sessions/{scheduled.session_id}/bookings"

        async def book(number: int) -> str:
            return str((await orders.post(path, person=Person(), json={"seats": number})).json()["status"])

        assert await book(4) == "confirmed"
        assert await book(8) == "waitlisted"
        assert [await book(1) for _ in range(OVERTAKES_MAX)] == ["confirmed"] * OVERTAKES_MAX
        assert await book(1) == "waitlisted", "three seats are free, but the party of 8 has waited long enough"
        assert await seats(orders, scheduled.session_id) == (7, 7, 10)


async def test_more_seats_let_those_in_who_wait_and_fewer_take_none_away(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        scheduled = await offer_session(orders, capacity=2)
        path = f"/sessions/{scheduled.session_id}/bookings"
        people = [Person() for _ in range(4)]
        booked = [(await orders.post(path, person=person, json={"seats": 2})).json() for person in people]
        terms = scheduled.model_dump()

        await orders.receive(SessionChanged(**{**terms, "capacity": 6}), sequence=2)
        assert len(await orders.emitted(BookingConfirmed)) == 3
        assert await seats(orders, scheduled.session_id) == (6, 6, 6)

        await orders.receive(SessionChanged(**{**terms, "capacity": 3}), sequence=3)
        assert await seats(orders, scheduled.session_id) == (6, 6, 6)
        for person, booking in list(zip(people, booked, strict=True))[:2]:
            await orders.post(f"/bookings/{booking['id']}/cancel", person=person)
        assert await seats(orders, scheduled.session_id) == (2, 2, 3), "above the new capacity nobody moves up"
        await orders.receive(SessionChanged(**{**terms, "capacity": 1}), sequence=4)
        await orders.receive(SessionChanged(**{**terms, "capacity": 9}), sequence=3)
        assert await seats(orders, scheduled.session_id) == (2, 2, 2), "an older version is not applied"


async def test_a_party_too_large_for_a_smaller_session_holds_nobody_up(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        scheduled = await offer_session(orders, capacity=4)
        path = f"/sessions/{scheduled.session_id}/bookings"
        ann, large, small = Person(), Person(), Person()
        first = (await orders.post(path, person=ann, json={"seats": 2})).json()
        await orders.post(path, person=large, json={"seats": 4})
        async with orders.db.transaction() as session:
            waiting = (await session.scalars(select(Booking).where(Booking.person_id == large.id))).one()
            waiting.overtaken = OVERTAKES_MAX
        await orders.receive(SessionChanged(**{**scheduled.model_dump(), "capacity": 3}), sequence=2)
        assert (await orders.post(path, person=small, json={"seats": 1})).json()["status"] == "confirmed"
        await orders.post(f"/bookings/{first['id']}/cancel", person=ann)
        await orders.receive(SessionChanged(**{**scheduled.model_dump(), "capacity": 5}), sequence=3)
        assert (await orders.get("/me/bookings", person=large)).json()["items"][0]["status"] == "confirmed"


async def test_nobody_moves_up_once_the_session_has_begun(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        scheduled = await offer_session(orders, capacity=1)
        path = f"/sessions/{scheduled.session_id}/bookings"
        for _ in range(2):
            await orders.post(path, person=Person(), json={"seats": 1})
        orders.clock.advance(days=2)
        await orders.receive(SessionChanged(**{**scheduled.model_dump(), "capacity": 5}), sequence=2)
        assert await seats(orders, scheduled.session_id) == (1, 1, 5)


async def test_whatever_happens_seats_add_up_and_the_list_keeps_its_rule(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        for seed in range(3):
            await play(orders, random.Random(seed))


async def play(orders: ServiceUnderTest, chance: random.Random) -> None:
    """Random bookings, cancellations and changes of capacity; the rule is checked after each."""
    scheduled = await offer_session(orders, capacity=12)
    path, version = f"/sessions/{scheduled.session_id}/bookings", 1
    live: list[tuple[Person, str]] = []
    overtaken: dict[str, int] = {}
    before: list[tuple[str, str]] = []
    for _ in range(60):
        action = chance.choices(("book", "cancel", "change"), (6, 5, 1))[0]
        if action == "book":
            person = Person()
            answer = await orders.post(path, person=person, json={"seats": chance.choice((1, 1, 2, 3, 6))})
            live += [(person, answer.json()["id"])] if answer.status_code == 201 else []
        elif action == "cancel" and live:
            person, booking_id = live.pop(chance.randrange(len(live)))
            await orders.post(f"/bookings/{booking_id}/cancel", person=person)
        elif action == "change":
            version += 1
            capacity = chance.randint(6, 16)
            await orders.receive(SessionChanged(**{**scheduled.model_dump(), "capacity": capacity}), sequence=version)
        before = await check(orders, scheduled.session_id, before, overtaken)


async def check(orders, session_id, before, overtaken) -> list[tuple[str, str]]:
    """The sums, and by our own count that nobody was overtaken once too often; returns who is live, in order."""
    taken, live_seats, limit = await seats(orders, session_id)
    assert taken == live_seats <= limit
    async with orders.db.transaction() as session:
        offer = await session.get_one(SessionOffer, session_id)
        in_order = select(Booking).where(Booking.session_id == session_id, Booking.status != "cancelled")
        bookings = (await session.scalars(in_order.order_by(Booking.id))).all()
    waiting = [booking for booking in bookings if booking.status == "waitlisted"]
    was = dict(before)
    moved = [b for b in bookings if b.status == "confirmed" and was.get(str(b.id), "new") != "confirmed"]
    for booking in waiting:
        later = [other for other in moved if other.id > booking.id]
        overtaken[str(booking.id)] = overtaken.get(str(booking.id), 0) + len(later)
        assert overtaken[str(booking.id)] <= OVERTAKES_MAX
        assert booking.overtaken == overtaken[str(booking.id)]
    assert not waiting or waiting[0].seats > limit - taken or offer.seat_total < waiting[0].seats
    return [(str(booking.id), booking.status) for booking in bookings]
