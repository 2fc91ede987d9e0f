from uuid import uuid4

from sqlalchemy import func, select

from chassis.tables import scopes
from contracts.members import AreaChanged, PersonChanged, PersonRegistered
from services.notify.app import SERVICE
from services.notify.models import Delivery, Message, StreamItem
from tests.harness import Person, run_service
from tests.services.notify.samples import TITLE, Members, confirmed, points, samples


async def counted(service, table):
    async with service.db.transaction() as session:
        return await session.scalar(select(func.count()).select_from(table))


async def items_of(service, person):
    async with service.db.transaction() as session:
        mine = select(StreamItem).where(StreamItem.person_id == person.id).order_by(StreamItem.seq)
        return (await session.scalars(mine)).all()


async def test_each_fact_gives_its_person_one_message_however_often_it_comes(databases):
    async with run_service(SERVICE, databases, members=Members().transport) as notify:
        ann, facts = Person(), samples(Person().id)
        facts = [fact.model_copy(update={owner: ann.id}) for fact in facts for owner in [_owner(fact)]]
        envelopes = await notify.receive(*facts)
        await notify.deliver(*envelopes, *envelopes)
        await notify.deliver(*reversed(envelopes))
        page = (await notify.get("/me/messages?limit=100", person=ann)).json()
        assert len(page["items"]) == len(facts)
        assert page["next_cursor"] is None
        assert await counted(notify, Delivery) == 7


def _owner(fact):
    return "person_id" if hasattr(fact, "person_id") else "subject_id"


async def test_a_fact_told_again_after_the_inbox_forgot_it_changes_nothing(databases):
    async with run_service(SERVICE, databases) as notify:
        ann = Person()
        envelopes = await notify.receive(confirmed(ann.id))
        async with notify.db.transaction() as session:
            await session.execute(SERVICE.metadata.tables["inbox"].delete())
        await notify.deliver(*envelopes)
        assert await counted(notify, Message) == await counted(notify, Delivery) == 1
        assert len(await items_of(notify, ann)) == 2
        assert await counted(notify, SERVICE.metadata.tables["parked"]) == 0


async def test_positive_energy_is_seen_live_and_points_are_also_a_message(databases):
    async with run_service(SERVICE, databases) as notify:
        ann = Person()
        award = points(ann.id)
        await notify.receive(points(ann.id, asset="energy"), award)
        assert [message["template"] for message in await messages(notify, ann)] == ["points_awarded"]
        items = await items_of(notify, ann)
        assert [item.kind for item in items] == ["points", "message", "points"]
        assert items[2].data == {
            "transfer_id": str(award.transfer_id),
            "asset": "points",
            "amount": 10,
            "title": TITLE,
        }


async def test_what_an_organisation_earns_is_no_persons_message(databases):
    async with run_service(SERVICE, databases) as notify:
        await notify.receive(points(uuid4(), subject_type="organisation"))
        assert await counted(notify, Message) == await counted(notify, StreamItem) == 0


async def test_messages_are_in_the_readers_language(databases):
    async with run_service(SERVICE, databases) as notify:
        ann = Person()
        await notify.receive(confirmed(ann.id))
        assert (await messages(notify, ann))[0]["title"] == "预约成功"
        await notify.receive(PersonChanged(person_id=ann.id, locale="en"), sequence=2)
        await notify.receive(PersonRegistered(person_id=ann.id, locale="zh-CN"), sequence=1)
        assert (await messages(notify, ann))[0]["title"] == "Booking confirmed"
        asked = await notify.get("/me/messages", person=ann, headers={"Accept-Language": "zh-CN"})
        assert asked.json()["items"][0]["title"] == "预约成功"


async def test_times_follow_the_zone_of_the_area_that_the_fact_is_about(databases):
    async with run_service(SERVICE, databases) as notify:
        ann, area = Person(), uuid4()
        await notify.receive(
            AreaChanged(
                area_id=area,
                parent_id=None,
                path=[area],
                level="community",
                name="x",
                name_en=None,
                timezone="Asia/Tokyo",
                active=True,
            )
        )
        await notify.receive(confirmed(ann.id, area_id=area), confirmed(ann.id))
        bodies = [message["body"] for message in await messages(notify, ann)]
        assert ["16:30" in body for body in bodies] == [True, False]
        assert "17:30" in bodies[1]
        assert await counted(notify, scopes) == 1


async def messages(service, person, query=""):
    answer = await service.get(f"/me/messages{query}", person=person)
    assert answer.status_code == 200
    return answer.json()["items"]


async def test_messages_come_newest_first_page_by_page(databases):
    async with run_service(SERVICE, databases) as notify:
        ann = Person()
        for number in range(5):
            await notify.receive(confirmed(ann.id, title=f"第{number}场"))
        seen: list[dict[str, str]] = []
        cursor: str | None = ""
        while cursor is not None:
            page = (await notify.get(f"/me/messages?limit=2{cursor and '&cursor=' + cursor}", person=ann)).json()
            seen += page["items"]
            cursor = page["next_cursor"]
        assert [message["body"][1:4] for message in seen] == [f"第{number}场" for number in range(4, -1, -1)]


async def test_reading_a_message_is_noted_once_and_by_its_owner_only(databases):
    async with run_service(SERVICE, databases) as notify:
        ann, bob = Person(), Person()
        await notify.receive(confirmed(ann.id), confirmed(ann.id))
        first, second = await messages(notify, ann)
        assert (await notify.post(f"/me/messages/{first['id']}/read", person=bob)).status_code == 404
        assert (await notify.post(f"/me/messages/{uuid4()}/read", person=ann)).status_code == 404
        assert (await notify.post(f"/me/messages/{first['id']}/read", person=ann)).status_code == 204
        read_at = (await messages(notify, ann))[0]["read_at"]
        notify.clock.advance(minutes=1)
        assert (await notify.post(f"/me/messages/{first['id']}/read", person=ann)).status_code == 204
        assert (await messages(notify, ann))[0]["read_at"] == read_at
        assert [message["id"] for message in await messages(notify, ann, "?unread=true")] == [second["id"]]
        assert await messages(notify, bob) == []


async def test_bad_input_is_refused_and_nobody_reads_without_a_token(databases):
    async with run_service(SERVICE, databases) as notify:
        ann = Person()
        for path in ("/me/messages", "/me/deliveries", "/me/stream"):
            assert (await notify.get(path)).status_code == 401
        for cursor in ("%F0", "bm8=", "W10=", "WzFd", "WyIwIl0="):
            assert (await notify.get(f"/me/messages?cursor={cursor}", person=ann)).status_code == 422
            assert (await notify.get(f"/me/deliveries?cursor={cursor}", person=ann)).status_code == 422
        assert (await notify.post("/me/messages/no-id/read", person=ann)).status_code == 422
