import asyncio
import json
from contextlib import aclosing, asynccontextmanager
from uuid import uuid4

import pytest
from sqlalchemy import func, select

from chassis.db import is_down
from chassis.inbox import Inbox
from contracts.event import Envelope
from contracts.members import PersonRegistered, SignedOut
from services.notify import wakes
from services.notify.app import SERVICE
from services.notify.models import Stream, StreamItem
from services.notify.streams import follow
from tests.harness import Person, run_service
from tests.services.notify.samples import confirmed, eventually, points


def read_events(body):
    """The events of an SSE body as (id, event, data)."""
    events = []
    for block in body.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "data" in fields:
            number = fields.get("id")
            events.append((number and int(number), fields["event"], json.loads(fields["data"])))
    return events


async def until_read(service, streams=1):
    async def as_many_as_expected():
        return len(service.app.state.parts.wakes.people) == streams

    await eventually(as_many_as_expected)


@asynccontextmanager
async def reading(service, person, **options):
    """A running request for the stream; it ends when the clock passes the token's end, and then gives its answer."""
    request = asyncio.create_task(service.get("/me/stream", person=person, **options))

    async def finish():
        await asyncio.sleep(0.3)
        service.clock.advance(minutes=6)
        return await asyncio.wait_for(request, 30)

    await until_read(service)
    yield finish


async def test_of_too_many_streams_of_one_person_the_first_gives_way(databases, monkeypatch):
    monkeypatch.setattr(wakes, "READERS_MAX", 2)
    ann, bob = Person(), Person()
    async with run_service(SERVICE, databases) as notify:
        asked = []
        for person in (bob, ann, ann, ann):
            asked.append(asyncio.create_task(notify.get("/me/stream", person=person)))
            await asyncio.sleep(0.3)  # one after another
        others, first = [asked[0], *asked[2:]], asked[1]
        assert [event for _, event, _ in read_events((await asyncio.wait_for(first, 30)).text)] == ["bye"]
        await notify.receive(PersonRegistered(person_id=ann.id, locale="en"), confirmed(ann.id))
        assert not any(one.done() for one in others)
        notify.clock.advance(minutes=6)
        for answer in await asyncio.wait_for(asyncio.gather(*others), 30):
            assert [event for _, event, _ in read_events(answer.text)][-1] == "bye"


async def test_who_listens_sees_what_comes_and_nothing_old_and_a_farewell(databases):
    async with run_service(SERVICE, databases) as notify:
        ann, bob = Person(), Person()
        await notify.receive(PersonRegistered(person_id=ann.id, locale="en"), confirmed(ann.id))
        async with reading(notify, ann) as finish:
            fact = confirmed(ann.id)
            await notify.receive(confirmed(bob.id), fact)
            answer = await finish()
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.text.startswith(": hello\nid: 2\n")
        message, status, bye = read_events(answer.text)
        assert message[:2] == (3, "message")
        assert message[2].keys() == {"id", "template", "title", "body"}
        assert message[2]["title"] == "Booking confirmed"
        assert status == (
            4,
            "status",
            {
                "type": "linli.orders.booking_confirmed.v1",
                "id": str(fact.booking_id),
                "title": fact.title,
                "product_id": str(fact.product_id),
                "session_id": str(fact.session_id),
                "area_id": str(fact.area_id),
            },
        )
        assert bye == (None, "bye", {})


@pytest.mark.parametrize("by_header", [True, False])
async def test_a_stream_goes_on_exactly_after_the_last_id_seen(databases, by_header):
    async with run_service(SERVICE, databases) as notify:
        ann = Person()
        await notify.receive(*[points(ann.id, asset="energy", amount=number) for number in range(1, 251)])
        options = {"headers": {"Last-Event-ID": "7"}} if by_header else {"params": {"last_event_id": 7}}
        async with reading(notify, ann, **options) as finish:
            await notify.receive(points(ann.id, asset="energy", amount=251))
            answer = await finish()
        *news, _ = read_events(answer.text)
        assert [number for number, _, _ in news] == list(range(8, 252))
        assert [data["amount"] for _, _, data in news] == list(range(8, 252))


async def test_an_id_that_was_never_given_is_taken_as_the_end(databases):
    async with run_service(SERVICE, databases) as notify:
        ann = Person()
        await notify.receive(points(ann.id, asset="energy"))
        async with reading(notify, ann, headers={"Last-Event-ID": str(2**63 - 1)}) as finish:
            await notify.receive(points(ann.id, asset="energy"))
            answer = await finish()
        assert [number for number, _, _ in read_events(answer.text)] == [2, None]


@pytest.mark.parametrize("last", ["-1", "x", str(2**63), "1e9"])
async def test_an_id_that_is_no_number_is_refused(databases, last):
    async with run_service(SERVICE, databases) as notify:
        answer = await notify.get("/me/stream", person=Person(), headers={"Last-Event-ID": last})
        assert answer.status_code == 422


async def test_the_stream_ends_when_the_person_signs_out(databases):
    async with run_service(SERVICE, databases) as notify:
        ann = Person()
        async with reading(notify, ann) as finish:
            await notify.receive(SignedOut(session_id=ann.id, person_id=ann.id))
            await asyncio.sleep(1.2)
            assert not notify.app.state.parts.wakes.people
            answer = await finish()
        assert [event for _, event, _ in read_events(answer.text)] == ["bye"]


async def test_the_stream_ends_at_once_when_the_process_wants_to_stop(databases):
    async with run_service(SERVICE, databases) as notify:
        request = asyncio.create_task(notify.get("/me/stream", person=Person()))
        await until_read(notify)
        notify.runtime.stopping.set()
        assert "event: bye" in (await asyncio.wait_for(request, 0.5)).text


async def hand_over(inbox, documents):
    """As the bus does it: again, when the database had no connection to spare."""
    while True:
        try:
            return await inbox.receive(documents)
        except Exception as error:
            if not is_down(error):
                raise


async def test_numbers_have_no_gaps_under_concurrent_handlers_in_two_copies(databases):
    url = await databases.fresh(SERVICE)
    async with (
        run_service(SERVICE, databases, database_url=url) as one,
        run_service(SERVICE, databases, database_url=url) as other,
    ):
        ann, others = uuid4(), [uuid4() for _ in range(4)]
        inboxes = [Inbox(each.db, SERVICE.all_handlers(each.runtime)) for each in (one, other)]
        loads = []
        for number in range(50):
            # Several people and types in one batch, in changing order: locks taken run by run would go in a circle.
            people = [ann, *others] if number % 2 else [*reversed(others), ann]
            facts = [fact for person in people for fact in (confirmed(person), points(person, asset="energy"))]
            loads.append([Envelope(uuid4(), fact, 1, one.clock()).to_json() for fact in facts])
        async with asyncio.timeout(30):
            await asyncio.gather(*(hand_over(inboxes[number % 2], load) for number, load in enumerate(loads)))
        async with one.db.transaction() as session:
            assert await session.scalar(select(func.count()).select_from(SERVICE.metadata.tables["parked"])) == 0
            for person in [ann, *others]:
                numbers = select(StreamItem.seq).where(StreamItem.person_id == person).order_by(StreamItem.seq)
                assert (await session.scalars(numbers)).all() == list(range(1, 151))
                assert (await session.get_one(Stream, person)).last_seq == 150


async def test_a_reader_beside_concurrent_writers_misses_nothing_and_sees_nothing_twice(databases, monkeypatch):
    # Sixty at once for eight connections: on a busy machine some wait longer than a request would.
    monkeypatch.setattr("chassis.db.POOL_TIMEOUT_S", 60)
    url = await databases.fresh(SERVICE)
    async with (
        run_service(SERVICE, databases, database_url=url) as one,
        run_service(SERVICE, databases, database_url=url) as other,
    ):
        ann = uuid4()
        seen: list[int] = []

        async def read():
            async with aclosing(follow(one.db, one.app.state.parts.wakes, ann, 0, lambda: True)) as batches:
                async for items in batches:
                    seen.extend(item.seq for item in items)
                    if seen[-1] == 120:
                        return

        reader = asyncio.create_task(read())
        await asyncio.gather(*(each.receive(points(ann, asset="energy")) for _ in range(60) for each in (one, other)))
        await asyncio.wait_for(reader, 30)
        assert seen == list(range(1, 121))


async def test_what_another_copy_wrote_is_seen_within_the_watch(databases):
    url = await databases.fresh(SERVICE)
    async with (
        run_service(SERVICE, databases, database_url=url) as one,
        run_service(SERVICE, databases, database_url=url) as other,
    ):
        ann = uuid4()
        async with aclosing(follow(one.db, one.app.state.parts.wakes, ann, 0, lambda: True)) as batches:
            first = asyncio.create_task(anext(batches))
            await asyncio.sleep(0.1)
            await other.receive(points(ann, asset="energy"))
            assert [item.seq for item in await asyncio.wait_for(first, 2.5)] == [1]


async def test_many_waiting_readers_hold_no_connection(databases):
    async with run_service(SERVICE, databases) as notify:
        people = [Person() for _ in range(30)]
        requests = [asyncio.create_task(notify.get("/me/stream", person=person)) for person in people]
        await until_read(notify, len(people))

        async def none_is_held():
            return "Checked out connections: 0" in notify.db.engine.pool.status()

        await eventually(none_is_held)
        notify.runtime.stopping.set()
        await asyncio.gather(*requests)


async def test_a_reader_hears_at_once_and_is_forgotten_when_gone(databases):
    async with run_service(SERVICE, databases) as notify:
        ann = Person()
        chunks: asyncio.Queue[bytes] = asyncio.Queue()
        gone = asyncio.Event()
        asked = False

        async def receive():
            nonlocal asked
            if not asked:
                asked = True
                return {"type": "http.request", "body": b"", "more_body": False}
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            if message["type"] == "http.response.body":
                chunks.put_nowait(message.get("body", b""))

        headers = [(b"authorization", f"Bearer {notify.token(ann)}".encode())]
        path = "/api/v1/me/stream"
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "scheme": "http",
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": headers,
        }
        request = asyncio.create_task(notify.app(scope, receive, send))
        assert (await asyncio.wait_for(chunks.get(), 2)).startswith(b": hello\n")
        await notify.receive(points(ann.id, asset="energy"))
        assert b"event: points" in await asyncio.wait_for(chunks.get(), 0.5)
        gone.set()
        await asyncio.wait_for(request, 2)
        assert not notify.app.state.parts.wakes.people
