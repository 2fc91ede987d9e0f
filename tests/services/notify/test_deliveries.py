import asyncio
import json
from collections import Counter
from dataclasses import replace
from uuid import uuid4

import pytest
from sqlalchemy import Text, cast, func, literal_column, select

from chassis.settings import Settings
from contracts.members import SignInChallenged
from contracts.notify import MessageDelivered, MessageFailed
from services.notify import deliveries
from services.notify.app import SERVICE
from services.notify.deliveries import LEASE_S, SMS_A_DAY_MAX, Outcome, Sender, settle
from services.notify.lookups import Lookups
from services.notify.models import Delivery, SandboxSms
from services.notify.wakes import Wakes
from services.notify.wording import Wording
from tests.chassis.parts import must_fail
from tests.harness import Clock, Person, run_service
from tests.services.notify.samples import CODE, PHONE, Members, confirmed, eventually, samples

PRODUCTION = Settings(environment="production")


async def delivery_of(service):
    async with service.db.transaction() as session:
        return (await session.scalars(select(Delivery))).one()


async def in_state(service, state, attempts=1):
    async def look():
        delivery = await delivery_of(service)
        return delivery if delivery.state == state and delivery.attempts >= attempts else None

    return await eventually(look)


async def sandbox(service, phone=PHONE):
    answer = await service.post("/dev/sms", json={"phone": phone})
    assert answer.status_code == 200, answer.text
    return answer.json()["messages"]


async def test_a_sign_in_code_is_in_the_sandbox_at_once_under_any_way_to_write_the_number(databases, monkeypatch):
    monkeypatch.setattr(deliveries, "POLL_S", 3600)
    members = Members()
    async with run_service(SERVICE, databases, members=members.transport) as notify:
        challenge_id = uuid4()
        await notify.receive(SignInChallenged(challenge_id=challenge_id))
        (sms,) = await eventually(lambda: sandbox(notify))
        assert sms["code"] == CODE
        assert CODE in sms["text"]
        assert await sandbox(notify, f"+86 {PHONE[:3]} {PHONE[3:7]} {PHONE[7:]}") == [sms]
        assert await sandbox(notify, "13900001234") == []
        assert members.asked == [f"/internal/challenges/{challenge_id}"]


async def test_a_changed_booking_goes_out_by_sms_once_and_that_is_told(databases):
    members = Members(locale="en")
    async with run_service(SERVICE, databases, members=members.transport) as notify:
        ann, bob = Person(), Person()
        (envelope,) = await notify.receive(confirmed(ann.id))
        await notify.deliver(envelope, envelope)
        delivery = await in_state(notify, "sent")
        (sms,) = await sandbox(notify)
        assert sms["text"].startswith("[Linli] ")
        assert sms["code"] is None
        (fact,) = await notify.emitted(MessageDelivered)
        assert fact == MessageDelivered(
            delivery_id=delivery.id, person_id=ann.id, template="booking_confirmed", channel="sms"
        )
        log = (await notify.get("/me/deliveries", person=ann)).json()["items"]
        assert [(entry["channel"], entry["state"], entry["template"]) for entry in log] == [
            ("sms", "sent", "booking_confirmed")
        ]
        assert (await notify.get("/me/deliveries", person=bob)).json()["items"] == []
        assert members.asked == [f"/internal/contacts/{ann.id}"]


async def test_a_crash_after_the_provider_took_it_sends_again_with_the_same_key_and_it_arrives_once(databases):
    crashes = ["notify.attempted"]

    def crash_once(name):
        if name in crashes:
            crashes.remove(name)
            raise RuntimeError("crash")

    members = Members()
    clock = Clock()
    async with run_service(SERVICE, databases, members=members.transport) as given:
        clock = given.clock
        given.runtime.db.world = replace(given.runtime.db.world, failpoint=crash_once)
        await given.receive(confirmed(Person().id))
        await eventually(lambda: sandbox(given))
        assert (await delivery_of(given)).state == "sending"
        assert await given.emitted(MessageDelivered) == []
        clock.advance(seconds=LEASE_S)
        delivery = await in_state(given, "sent", attempts=2)
        assert delivery.attempts == len(members.asked) == 2
        assert len(await sandbox(given)) == 1
        assert len(await given.emitted(MessageDelivered)) == 1


async def test_what_fails_is_tried_again_with_pauses_and_then_sent(databases):
    members = Members(failures=2)
    async with run_service(SERVICE, databases, members=members.transport) as notify:
        await notify.receive(confirmed(Person().id))
        delivery = await in_state(notify, "waiting", attempts=1)
        assert delivery.cause == "ConnectError"
        notify.clock.advance(seconds=1)
        await in_state(notify, "waiting", attempts=2)
        notify.clock.advance(seconds=5)
        assert (await in_state(notify, "sent", attempts=3)).cause is None
        assert len(await sandbox(notify)) == 1


async def test_after_six_attempts_it_has_failed_and_that_is_told_without_the_contact(databases):
    members = Members(failures=100)
    async with run_service(SERVICE, databases, members=members.transport) as notify:
        await notify.receive(confirmed(Person().id))
        for attempt in range(1, 6):
            await in_state(notify, "waiting", attempts=attempt)
            notify.clock.advance(minutes=5)
        delivery = await in_state(notify, "failed", attempts=6)
        (fact,) = await notify.emitted(MessageFailed)
        assert (fact.delivery_id, fact.cause) == (delivery.id, "ConnectError")
        assert len(members.asked) == 6
        assert await notify.emitted(MessageDelivered) == []


@pytest.mark.parametrize("gone", [{"phone": None}, {"known": False}])
async def test_who_has_no_contact_gets_no_sms_and_it_is_not_a_failure(databases, gone):
    members = Members()
    vars(members).update(gone)
    async with run_service(SERVICE, databases, members=members.transport) as notify:
        await notify.receive(confirmed(Person().id))
        assert (await in_state(notify, "skipped")).cause == "no contact"
        assert not await notify.emitted(MessageFailed)
        assert not await notify.emitted(MessageDelivered)


async def test_an_old_sign_in_code_is_not_sent(databases):
    members = Members(failures=1)
    async with run_service(SERVICE, databases, members=members.transport) as notify:
        await notify.receive(SignInChallenged(challenge_id=uuid4()))
        await in_state(notify, "waiting")
        notify.clock.advance(minutes=5)
        assert (await in_state(notify, "skipped", attempts=2)).cause == "expired"
        assert await sandbox(notify) == []


async def test_production_has_no_sandbox_and_skips_what_has_no_channel(databases):
    members = Members()
    async with run_service(SERVICE, databases, members=members.transport, settings=PRODUCTION) as notify:
        await notify.receive(SignInChallenged(challenge_id=uuid4()))
        assert (await in_state(notify, "skipped")).cause == "no channel"
        assert (await notify.post("/dev/sms", json={"phone": PHONE})).status_code == 404
        assert members.asked == []


@pytest.mark.parametrize("body", [{}, {"phone": ""}, {"phone": "1\u0000"}, {"phone": "1" * 41}, {"phone": 1}, []])
async def test_the_sandbox_refuses_what_is_no_number(databases, body):
    async with run_service(SERVICE, databases) as notify:
        assert (await notify.post("/dev/sms", json=body)).status_code == 422


async def test_two_copies_of_the_service_send_each_sms_once(databases):
    members = Members()
    url = await databases.fresh(SERVICE)
    async with (
        run_service(SERVICE, databases, members=members.transport, database_url=url) as one,
        run_service(SERVICE, databases, members=members.transport, database_url=url) as other,
    ):
        facts = [confirmed(uuid4()) for _ in range(40)]
        await one.receive(*facts[:20])
        await other.receive(*facts[20:])

        async def all_sent():
            async with one.db.transaction() as session:
                states = (await session.scalars(select(Delivery.state))).all()
            return states == ["sent"] * len(facts)

        await eventually(all_sent)
        assert len(members.asked) == len(facts)
        told = await one.envelopes(MessageDelivered) + await other.envelopes(MessageDelivered)
        assert len({envelope.id for envelope in told}) == len(facts)


async def test_the_sender_stops_when_told_to_even_if_woken_at_that_very_moment(databases):
    async with run_service(SERVICE, databases) as notify:
        wakes = Wakes()
        lookups = Lookups(notify.runtime.members, notify.signer, notify.runtime.world)
        task = asyncio.create_task(Sender(notify.db, lookups, {}, Wording(), wakes).run())
        await asyncio.sleep(0.2)
        wakes.sender.set()
        task.cancel()
        await asyncio.wait([task], timeout=2)
        assert task.cancelled()


async def test_an_attempt_that_lost_its_lease_settles_nothing(databases):
    async with run_service(SERVICE, databases, members=Members().transport) as notify:
        await notify.receive(confirmed(Person().id))
        sent = await in_state(notify, "sent")
        async with notify.db.transaction() as session:
            again = await session.get_one(Delivery, sent.id)
            again.state, again.attempts = "sending", 2
        async with notify.db.transaction() as session:
            await settle(session, sent, Outcome("error", "TimeoutError"))
        assert (await delivery_of(notify)).state == "sending"


async def test_no_phone_and_no_code_is_kept_but_in_the_sandbox(databases, capfd):
    members = Members(failures=1)
    async with run_service(SERVICE, databases, members=members.transport) as notify:
        await notify.receive(SignInChallenged(challenge_id=uuid4()), *samples(uuid4()))

        async def all_sent():
            notify.clock.advance(seconds=0.1)
            async with notify.db.transaction() as session:
                states = (await session.scalars(select(Delivery.state))).all()
            return set(states) == {"sent"}

        await eventually(all_sent)
        found = await _tables_with(notify, PHONE, CODE)
        assert found == {"sandbox_sms"}
        async with notify.db.transaction() as session:
            kept = [json.dumps([row.phone_hash, row.text]) for row in await session.scalars(select(SandboxSms))]
        assert not any(PHONE in row for row in kept)
    written = capfd.readouterr()
    assert PHONE not in written.out + written.err
    assert CODE not in written.out + written.err


async def _tables_with(service, *needles):
    found = set()
    async with service.db.transaction() as session:
        for table in SERVICE.metadata.sorted_tables:
            rows = await session.scalars(select(cast(literal_column(table.name), Text)).select_from(table))
            if any(needle in row for row in rows for needle in needles):
                found.add(table.name)
    return found


async def states_after(notify, bookings):
    """How the deliveries ended when this many bookings of one person were confirmed at once."""
    ann = Person().id
    await notify.receive(*(confirmed(ann) for _ in range(bookings)))
    return await states_of(notify)


async def states_of(notify):
    async def all_ended():
        async with notify.db.transaction() as session:
            rows = (await session.execute(select(Delivery.state, Delivery.cause))).all()
        return None if {row.state for row in rows} & {"waiting", "sending"} else Counter(map(tuple, rows))

    return await eventually(all_ended)


async def never_more_than_a_days_sms(notify):
    states = await states_after(notify, SMS_A_DAY_MAX + 12)
    assert states == {("sent", None): SMS_A_DAY_MAX, ("skipped", "too many"): 12}


async def test_who_books_and_cancels_all_day_gets_so_many_sms_exactly_and_the_rest_in_the_inbox(databases):
    async with run_service(SERVICE, databases, members=Members().transport) as notify:
        await never_more_than_a_days_sms(notify)
        another = Person()
        await notify.receive(confirmed(another.id))
        assert (await states_of(notify))[("sent", None)] == SMS_A_DAY_MAX + 1
        notify.clock.advance(days=1)
        async with notify.db.transaction() as session:
            ann = (await session.scalars(select(Delivery.person_id).order_by(Delivery.id).limit(1))).one()
        assert ann is not None
        await notify.receive(confirmed(ann))
        assert (await states_of(notify))[("sent", None)] == SMS_A_DAY_MAX + 2
        messages = (await notify.get("/me/messages", person=Person(id=ann), params={"limit": 100})).json()
        assert len(messages["items"]) == SMS_A_DAY_MAX + 13


async def test_control_a_sender_that_counts_what_was_sent_so_far_sends_more(databases, monkeypatch):
    async def counts_sent(self, delivery):
        sent = select(func.count()).where(Delivery.person_id == delivery.person_id, Delivery.state == "sent")
        async with self._db.transaction() as session:
            return await session.scalar(sent) >= SMS_A_DAY_MAX

    monkeypatch.setattr(Sender, "_is_one_too_many", counts_sent)
    async with run_service(SERVICE, databases, members=Members().transport) as notify:
        await must_fail(never_more_than_a_days_sms, notify)
