from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from contracts.catalog import ProductPublished
from contracts.members import MembershipConfirmed
from contracts.orders import ReviewPosted
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
    registration,
    session_of,
)


async def claim(orders: ServiceUnderTest, offered: ProductPublished, person: Person) -> str:
    answer = await orders.post(f"/products/{offered.product_id}/claims", person=person, json=as_member(person))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def complete(orders: ServiceUnderTest, offered: ProductPublished, claim_id: str, person: Person) -> None:
    await orders.post(f"/claims/{claim_id}/sign", person=person)
    answer = await orders.post(f"/claims/{claim_id}/complete", person=coordinator(offered.area_id))
    assert answer.status_code == 200, answer.text


async def review(orders: ServiceUnderTest, author: Person, kind: str, subject_id: object, **other: Any) -> Any:
    body = {"subject": {"type": kind, "id": str(subject_id)}, "stars": 5, "text": "很好", **other}
    return await orders.post("/reviews", person=author, json=body)


async def test_a_resident_reviews_a_completed_claim_once_and_everybody_sees_it(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        offered = await offer_product(orders)
        ann, bob = await registered(orders, offered.area_id), await registered(orders, offered.area_id)
        claim_id = await claim(orders, offered, ann)
        assert refusal(await review(orders, bob, "claim", claim_id)) == (409, "not_completed")
        await complete(orders, offered, claim_id, ann)

        posted = await review(orders, bob, "claim", claim_id, stars=4)
        assert posted.status_code == 201, posted.text
        assert posted.json() == {
            "id": posted.json()["id"],
            "subject": {"type": "claim", "id": claim_id},
            "product_id": str(offered.product_id),
            "stars": 4,
            "text": "很好",
            "created_at": "2026-03-02T08:00:00Z",
            "author_id": str(bob.id),
        }
        assert refusal(await review(orders, bob, "claim", claim_id, stars=1)) == (409, "already_reviewed")
        carol = await registered(orders, offered.area_id)
        silent = await review(orders, carol, "claim", claim_id, text="")

        seen = (await orders.get(f"/products/{offered.product_id}/reviews")).json()
        assert seen == {
            "items": [silent.json(), posted.json()],
            "next_cursor": None,
            "stars_average": 4.5,
            "count": 2,
            "names": {},
        }
        fact = (await orders.envelopes(ReviewPosted))[0]
        assert (fact.sequence, fact.data.stars, fact.data.person_id) == (1, 4, bob.id)
        assert (fact.data.claimant_type, fact.data.claimant_id) == ("member", ann.id)


async def test_a_claim_is_reviewed_by_those_around_and_never_by_who_made_it(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        town = await orders.add_area()
        community = await orders.add_area(parents=[town])
        building = await orders.add_area(parents=[town, community])
        sibling = await orders.add_area(parents=[town])
        offered = ProductPublished(**{**(await offer_product(orders)).model_dump(), "area_id": community})
        await orders.receive(offered, sequence=2)
        ann = await registered(orders, community)
        claim_id = await claim(orders, offered, ann)
        await complete(orders, offered, claim_id, ann)

        assert refusal(await review(orders, ann, "claim", claim_id)) == (403, "not_entitled")
        assert refusal(await review(orders, Person(), "claim", claim_id)) == (403, "not_entitled")
        next_door = await registered(orders, sibling)
        assert refusal(await review(orders, next_door, "claim", claim_id)) == (403, "not_entitled")
        moved = Person()
        left = registration(moved, community)
        await orders.receive(left)
        await orders.receive(left.model_copy(update={"status": "left"}), sequence=2)
        assert refusal(await review(orders, moved, "claim", claim_id)) == (403, "not_entitled")
        for area in (town, community, building):
            assert (await review(orders, await registered(orders, area), "claim", claim_id)).status_code == 201


async def test_nobody_reviews_what_they_did_themselves(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        offered, organisation = await offer_product(orders), uuid4()
        scheduled = session_of(offered, orders)
        await orders.receive(scheduled)
        head, second = administrator(organisation), administrator(organisation)
        worker = await registered(orders, offered.area_id)
        joined = MembershipConfirmed(membership_id=uuid4(), organisation_id=organisation, person_id=worker.id)
        path = f"/products/{offered.product_id}/claims"
        claim_id = (await orders.post(path, person=head, json=as_organisation(organisation))).json()["id"]
        await complete(orders, offered, claim_id, head)
        await orders.receive(joined, *(registration(person, offered.area_id) for person in (head, second)))
        orders.clock.advance(days=30)
        for author in (head, second, worker):
            for kind, subject in (("claim", claim_id), ("session", scheduled.session_id)):
                assert refusal(await review(orders, author, kind, subject)) == (403, "not_entitled")
        neighbour = await registered(orders, offered.area_id)
        assert (await review(orders, neighbour, "claim", claim_id)).status_code == 201
        assert (await review(orders, neighbour, "session", scheduled.session_id)).status_code == 201


async def test_who_was_served_reviews_without_being_registered(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        offered = await offer_product(orders)
        scheduled = session_of(offered, orders)
        await orders.receive(scheduled)
        ann, guest = await registered(orders, offered.area_id), Person()
        claim_id = await claim(orders, offered, ann)
        await complete(orders, offered, claim_id, ann)
        booking = await orders.post(f"/sessions/{scheduled.session_id}/bookings", person=guest, json={"seats": 1})
        for kind, subject in (("session", scheduled.session_id), ("claim", claim_id)):
            assert refusal(await review(orders, guest, kind, subject)) == (403, "not_entitled")

        attended = {"booking_id": booking.json()["id"], "action": "check_in"}
        attendance = await orders.post("/attendances", person=operator(), json=attended)
        assert (await review(orders, guest, "session", scheduled.session_id)).status_code == 201
        assert (await review(orders, guest, "claim", claim_id)).status_code == 201
        assert [fact.claimant_id for fact in await orders.emitted(ReviewPosted)] == [ann.id, ann.id]

        path = f"/attendances/{attendance.json()['id']}/void"
        await orders.post(path, person=operator(), json={"reason": "扫错了"})
        later = session_of(offered, orders)
        await orders.receive(later)
        assert refusal(await review(orders, guest, "session", later.session_id)) == (403, "not_entitled")


async def test_a_resident_reviews_a_session_once_it_is_over(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        scheduled = await offer_session(orders)
        bob = await registered(orders, scheduled.area_id)
        assert refusal(await review(orders, bob, "session", scheduled.session_id)) == (409, "not_completed")
        orders.clock.time = scheduled.ends_at + timedelta(seconds=1)
        assert (await review(orders, bob, "session", scheduled.session_id)).status_code == 201
        [fact] = await orders.emitted(ReviewPosted)
        assert (fact.claimant_type, fact.claimant_id) == (None, None)


async def test_reviews_come_in_pages_and_their_average_is_of_all(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        scheduled = await offer_session(orders)
        orders.clock.time = scheduled.ends_at
        posted = []
        for stars in (5, 4, 4):
            author = await registered(orders, scheduled.area_id)
            posted.append((await review(orders, author, "session", scheduled.session_id, stars=stars)).json())
        path = f"/products/{scheduled.product_id}/reviews"
        first = (await orders.get(path, params={"limit": 2})).json()
        rest = (await orders.get(path, params={"limit": 2, "cursor": first["next_cursor"]})).json()
        assert first["items"] + rest["items"] == posted[::-1]
        assert rest["next_cursor"] is None
        assert (first["stars_average"], first["count"], rest["stars_average"]) == (4.33, 3, 4.33)
        assert (await orders.get(path, params={"cursor": "WzVd"})).status_code == 422
        nothing = (await orders.get(f"/products/{uuid4()}/reviews")).json()
        assert (nothing["items"], nothing["stars_average"], nothing["count"]) == ([], None, 0)


async def test_a_claim_or_session_that_is_not_here_is_not_reviewed(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        assert refusal(await review(orders, Person(), "claim", uuid4())) == (404, "not_found")
        assert refusal(await review(orders, Person(), "session", uuid4())) == (404, "not_arrived")
        assert (await orders.post("/reviews", json={})).status_code == 401


BAD_INPUT: list[dict[str, Any]] = [
    {"stars": 0},
    {"stars": 6},
    {"stars": "5"},
    {"stars": True},
    {"stars": 10**30},
    {"text": "字" * 1001},
    {"text": "\u0000"},
    {"text": None},
    {"subject": {"type": "product", "id": str(UUID(int=1))}},
    {"subject": {"type": "claim", "id": "x"}},
    {"anonymous": True},
]


async def test_bad_input_is_refused_with_its_field(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        for body in BAD_INPUT:
            answer = await review(orders, Person(), "claim", uuid4(), **body)
            assert refusal(answer) == (422, "invalid_input"), body
            assert answer.json()["errors"], body
