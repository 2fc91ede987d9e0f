from typing import Any
from uuid import UUID, uuid4

from chassis.tokens import Grant
from contracts.catalog import SessionScheduled
from contracts.members import MembershipConfirmed
from contracts.orders import AttendanceRecorded, AttendanceVoided
from services.orders.app import SERVICE
from tests.harness import Databases, Person, ServiceUnderTest, coordinator, operator, run_service
from tests.services.orders.scenes import (
    administrator,
    as_member,
    as_organisation,
    offer_product,
    offer_session,
    refusal,
    registered,
    session_of,
)


async def book(orders: ServiceUnderTest, scheduled: SessionScheduled, person: Person) -> dict[str, Any]:
    answer = await orders.post(f"/sessions/{scheduled.session_id}/bookings", person=person, json={"seats": 1})
    assert answer.status_code == 201, answer.text
    booking: dict[str, Any] = answer.json()
    return booking


async def record(orders: ServiceUnderTest, by: Person, action: str = "check_in", **subject: Any) -> Any:
    return await orders.post("/attendances", person=by, json={**subject, "action": action})


async def test_a_scanned_ticket_checks_its_owner_in_and_out_and_the_minutes_count(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        scheduled, ann = await offer_session(orders), Person()
        staff = coordinator(scheduled.area_id)
        booking = await book(orders, scheduled, ann)

        came = await record(orders, staff, ticket=booking["ticket"]["code"].lower())
        assert came.status_code == 201, came.text
        assert came.json() == {
            "id": came.json()["id"],
            "person_id": str(ann.id),
            "product_id": str(scheduled.product_id),
            "session_id": str(scheduled.session_id),
            "booking_id": booking["id"],
            "claim_id": None,
            "area_id": str(scheduled.area_id),
            "status": "checked_in",
            "checked_in_at": "2026-03-02T08:00:00Z",
            "checked_out_at": None,
            "minutes": None,
            "grade": "scanned",
        }
        orders.clock.advance(minutes=95, seconds=59)
        went = await record(orders, staff, "check_out", booking_id=booking["id"])
        assert (went.json()["status"], went.json()["minutes"]) == ("checked_out", 95)
        assert (await orders.get("/me/attendances", person=ann)).json()["items"] == [went.json()]

        told = await orders.envelopes(AttendanceRecorded)
        assert [(fact.data.action, fact.data.minutes, fact.sequence) for fact in told] == [
            ("check_in", None, 1),
            ("check_out", 95, 2),
        ]
        assert {fact.data.title for fact in told} == {scheduled.title}


async def test_recording_again_answers_the_same_and_tells_nothing(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        scheduled = await offer_session(orders)
        staff = coordinator(scheduled.area_id)
        booking = await book(orders, scheduled, Person())

        for action in ("check_in", "check_out"):
            first = await record(orders, staff, action, booking_id=booking["id"])
            orders.clock.advance(minutes=3)
            again = await record(orders, staff, action, ticket=booking["ticket"]["code"])
            assert (again.status_code, again.json()) == (201, first.json())
        late = await record(orders, staff, booking_id=booking["id"])
        assert late.json()["status"] == "checked_out"
        assert len(await orders.emitted(AttendanceRecorded)) == 2


async def test_only_those_entitled_record_and_nobody_their_own(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        organisation = uuid4()
        offered = await offer_product(orders, organisation_id=organisation)
        scheduled = session_of(offered, orders)
        await orders.receive(scheduled)
        elsewhere = await orders.add_area()
        ann = Person()
        booking = await book(orders, scheduled, ann)
        ticket = {"ticket": booking["ticket"]["code"]}

        assert (await orders.post("/attendances", json={**ticket, "action": "check_in"})).status_code == 401
        assert refusal(await record(orders, ann, **ticket)) == (403, "forbidden")
        assert refusal(await record(orders, coordinator(elsewhere), **ticket)) == (403, "forbidden")
        assert refusal(await record(orders, administrator(uuid4()), **ticket)) == (403, "forbidden")
        screen = Person(grants=(Grant(role="device", area_id=elsewhere),))
        assert refusal(await record(orders, screen, **ticket)) == (403, "forbidden")
        herself = Person(id=ann.id, grants=(Grant(role="operator"),))
        assert refusal(await record(orders, herself, **ticket)) == (403, "own_attendance")
        assert await orders.emitted(AttendanceRecorded) == []

        device = Person(grants=(Grant(role="device", area_id=scheduled.area_id),))
        for recorder in (administrator(organisation), device, operator(), coordinator(scheduled.area_id)):
            assert (await record(orders, recorder, **ticket)).status_code == 201
        assert len(await orders.emitted(AttendanceRecorded)) == 1


async def test_only_a_confirmed_booking_checks_in_and_nobody_goes_who_has_not_come(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        scheduled = await offer_session(orders, confirmation="coordinator")
        staff = coordinator(scheduled.area_id)
        booking = await book(orders, scheduled, Person())
        assert refusal(await record(orders, staff, booking_id=booking["id"])) == (409, "booking_not_confirmed")
        await orders.post(f"/bookings/{booking['id']}/confirm", person=staff)
        assert refusal(await record(orders, staff, "check_out", booking_id=booking["id"])) == (409, "not_checked_in")
        assert (await record(orders, staff, booking_id=booking["id"])).status_code == 201


async def test_nobody_is_in_two_sessions_at_once_whoever_holds_them(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        first, ann = await offer_session(orders), Person()
        second, later = (
            await offer_session(orders),
            await offer_session(orders, starts_at=first.ends_at, ends_at=first.ends_at.replace(hour=20)),
        )
        here, there, after = [await book(orders, scheduled, ann) for scheduled in (first, second, later)]
        staff = operator()

        came = (await record(orders, staff, booking_id=here["id"])).json()
        assert refusal(await record(orders, staff, booking_id=there["id"])) == (409, "overlapping_attendance")
        assert (await record(orders, staff, booking_id=after["id"])).status_code == 201
        await orders.post(f"/attendances/{came['id']}/void", person=staff, json={"reason": "扫错了"})
        assert (await record(orders, staff, booking_id=there["id"])).status_code == 201


async def test_who_was_checked_in_cannot_cancel_until_that_is_void(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        ann, scheduled = Person(), await offer_session(orders)
        booking = await book(orders, scheduled, ann)
        came = (await record(orders, operator(), booking_id=booking["id"])).json()
        path = f"/bookings/{booking['id']}/cancel"
        assert refusal(await orders.post(path, person=ann)) == (409, "already_attended")
        await orders.post(f"/attendances/{came['id']}/void", person=operator(), json={"reason": "扫错了"})
        assert (await orders.post(path, person=ann)).json()["status"] == "cancelled"


async def test_nobody_is_credited_with_work_for_a_claim_that_is_not_theirs(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        offered = await offer_product(orders)
        ann, bob = await registered(orders, offered.area_id), await registered(orders, offered.area_id)
        path, staff = f"/products/{offered.product_id}/claims", coordinator(offered.area_id)
        own = (await orders.post(path, person=ann, json=as_member(ann))).json()["id"]
        organisation = uuid4()
        units = await orders.post(path, person=administrator(organisation), json=as_organisation(organisation))
        for claim_id in (own, units.json()["id"]):
            for stranger in (bob.id, uuid4()):
                answer = await record(orders, staff, claim_id=claim_id, person_id=str(stranger))
                assert answer.status_code == 422
                assert answer.json()["errors"][0]["field"] == "body.person_id"
        assert await orders.emitted(AttendanceRecorded) == []


async def test_a_claim_has_one_attendance_for_each_member_who_worked(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        offered, organisation = await offer_product(orders), uuid4()
        head, worker, staff = administrator(organisation), Person(), coordinator(offered.area_id)
        await orders.receive(
            MembershipConfirmed(membership_id=uuid4(), organisation_id=organisation, person_id=worker.id)
        )
        claim = await orders.post(
            f"/products/{offered.product_id}/claims", person=head, json=as_organisation(organisation)
        )
        claim_id = claim.json()["id"]

        own = (await record(orders, staff, claim_id=claim_id)).json()
        other = (await record(orders, staff, claim_id=claim_id, person_id=str(worker.id))).json()
        again = (await record(orders, staff, claim_id=claim_id, person_id=str(worker.id))).json()
        assert (own["person_id"], other["person_id"], other["grade"]) == (str(head.id), str(worker.id), "attested")
        assert again == other
        assert own["id"] != other["id"]

        orders.clock.advance(days=3)
        went = await record(orders, staff, "check_out", claim_id=claim_id, person_id=str(worker.id))
        assert went.json()["minutes"] == 24 * 60


async def test_a_released_claim_is_attended_by_nobody(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        offered = await offer_product(orders)
        ann = await registered(orders, offered.area_id)
        claim = await orders.post(f"/products/{offered.product_id}/claims", person=ann, json=as_member(ann))
        await orders.post(f"/claims/{claim.json()['id']}/release", person=ann)
        answer = await record(orders, coordinator(offered.area_id), claim_id=claim.json()["id"])
        assert refusal(answer) == (409, "claim_ended")


async def test_a_voided_attendance_is_told_once_and_a_true_one_can_follow(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        scheduled = await offer_session(orders)
        staff = coordinator(scheduled.area_id)
        booking = await book(orders, scheduled, Person())
        attendance = (await record(orders, staff, booking_id=booking["id"])).json()
        path = f"/attendances/{attendance['id']}/void"

        stranger = coordinator(await orders.add_area())
        assert refusal(await orders.post(path, person=stranger, json={"reason": "x"})) == (403, "forbidden")
        assert (await orders.post(path, person=staff, json={"reason": " "})).status_code == 422
        for _ in range(2):
            answer = await orders.post(path, person=staff, json={"reason": "扫错了"})
            assert (answer.status_code, answer.json()["status"]) == (200, "voided")
        [voided] = await orders.envelopes(AttendanceVoided)
        assert (voided.data.attendance_id, voided.sequence) == (UUID(attendance["id"]), 2)

        anew = (await record(orders, staff, booking_id=booking["id"])).json()
        assert anew["id"] != attendance["id"]
        assert anew["status"] == "checked_in"
        missing = await orders.post(f"/attendances/{uuid4()}/void", person=staff, json={"reason": "x"})
        assert missing.status_code == 404


async def test_who_came_is_listed_in_pages_for_those_who_run_the_session(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        scheduled = await offer_session(orders)
        staff = coordinator(scheduled.area_id)
        made = []
        for _ in range(3):
            booking = await book(orders, scheduled, Person())
            made.append((await record(orders, staff, booking_id=booking["id"])).json())
        path = f"/sessions/{scheduled.session_id}/attendances"

        first = (await orders.get(path, person=staff, params={"limit": 2})).json()
        rest = (await orders.get(path, person=staff, params={"limit": 2, "cursor": first["next_cursor"]})).json()
        assert first["items"] + rest["items"] == made[::-1]
        assert rest["next_cursor"] is None
        assert (await orders.get(path, person=coordinator(await orders.add_area()))).status_code == 403
        assert (await orders.get(path, person=Person())).status_code == 403
        assert refusal(await orders.get(f"/sessions/{uuid4()}/attendances", person=staff)) == (404, "not_arrived")


BAD_INPUT: list[dict[str, Any]] = [
    {"action": "check_in"},
    {"action": "check_in", "ticket": "ABCDEFGH", "booking_id": str(uuid4())},
    {"action": "leave", "ticket": "ABCDEFGH"},
    {"action": "check_in", "ticket": "A\u0000B"},
    {"action": "check_in", "ticket": "A" * 41},
    {"action": "check_in", "claim_id": 7},
    {"action": "check_in", "claim_id": str(uuid4()), "minutes": 600},
]


async def test_bad_input_is_refused_with_its_field(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        for body in BAD_INPUT:
            answer = await orders.post("/attendances", person=operator(), json=body)
            assert refusal(answer) == (422, "invalid_input"), body
            assert answer.json()["errors"], body


async def test_an_unknown_ticket_booking_or_claim_is_not_found(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        for subject in ({"ticket": "ABCDEFGH"}, {"booking_id": str(uuid4())}, {"claim_id": str(uuid4())}):
            assert refusal(await record(orders, operator(), **subject)) == (404, "not_found")
