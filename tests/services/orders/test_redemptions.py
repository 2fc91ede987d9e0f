import asyncio
from collections import Counter
from typing import Any
from uuid import uuid4

from sqlalchemy import select

from chassis.tables import parked
from contracts.catalog import CentreStock
from contracts.orders import (
    RedemptionCancelled,
    RedemptionCollected,
    RedemptionConfirmed,
    RedemptionRefused,
    RedemptionRequested,
)
from contracts.points import HoldCaptured, HoldPlaced, HoldRefused, HoldReleased
from services.orders.app import SERVICE
from services.orders.redemptions import end_overdue
from tests.harness import Databases, Person, coordinator, operator, run_service
from tests.services.orders.scenes import refusal
from tests.services.orders.shop import REDEMPTION_FACTS, hold, merchant, open_shop


async def test_stock_is_reserved_points_are_asked_for_and_a_code_fetches_the_reward(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        shop, ann = await open_shop(orders), Person()

        asked = await shop.redeem(ann, 2)
        assert asked.status_code == 202, asked.text
        assert asked.json() == {
            "id": asked.json()["id"],
            "reward_id": str(shop.published.reward_id),
            "centre_id": str(shop.centre_id),
            "title": "大米一袋",
            "quantity": 2,
            "points": 60,
            "status": "requested",
            "pickup_code": None,
            "reason": None,
            "created_at": "2026-03-02T08:00:00Z",
            "deadline": "2026-03-02T08:01:00Z",
        }
        redemption_id = asked.json()["id"]
        [requested] = await orders.envelopes(RedemptionRequested)
        assert (requested.data.points, requested.data.person_id, requested.sequence) == (60, ann.id, 1)
        assert await shop.taken() == 2

        await orders.receive(hold(HoldPlaced, redemption_id))
        waiting = await shop.see(ann, redemption_id)
        assert (waiting["status"], waiting["deadline"]) == ("confirmed", "2026-03-16T08:00:00Z")
        assert len(waiting["pickup_code"]) == 10
        assert (await shop.see(merchant(shop.area_id), redemption_id))["pickup_code"] is None

        handed = await shop.collect(merchant(shop.area_id), f" {waiting['pickup_code'].lower()} ")
        assert (handed.status_code, handed.json()["status"]) == (200, "collected"), handed.text
        again = await shop.collect(merchant(shop.area_id), waiting["pickup_code"])
        assert refusal(again) == (409, "already_collected")

        await orders.receive(hold(HoldCaptured, redemption_id))
        assert (await shop.see(ann, redemption_id))["status"] == "completed"
        assert (await orders.get("/me/redemptions", person=ann)).json()["items"] == [await shop.see(ann, redemption_id)]
        assert await shop.taken() == 2
        told = [(type(e.data), e.sequence) for kind in REDEMPTION_FACTS for e in await orders.envelopes(kind)]
        assert told == [(RedemptionRequested, 1), (RedemptionConfirmed, 2), (RedemptionCollected, 3)]


async def test_too_few_points_end_it_and_give_the_stock_back(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        shop, ann = await open_shop(orders, 1), Person()
        asked = (await shop.redeem(ann)).json()
        assert refusal(await shop.redeem(Person())) == (409, "out_of_stock")
        await orders.receive(hold(HoldRefused, asked["id"]))
        refused = await shop.see(ann, asked["id"])
        assert (refused["status"], refused["reason"], refused["deadline"]) == ("refused", "insufficient_points", None)
        assert await shop.taken() == 0
        [fact] = await orders.emitted(RedemptionRefused)
        assert fact.reason == "insufficient_points"
        assert (await shop.redeem(Person())).status_code == 202


async def test_cancelled_before_the_answer_the_late_hold_is_freed_again(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        shop, ann = await open_shop(orders), Person()
        asked = (await shop.redeem(ann)).json()
        for _ in range(2):
            answer = await shop.cancel(ann, asked["id"])
            assert (answer.status_code, answer.json()["status"], answer.json()["reason"]) == (
                200,
                "cancelled",
                "person",
            )
        assert await shop.taken() == 0
        await orders.receive(hold(HoldPlaced, asked["id"]))
        assert (await shop.see(ann, asked["id"]))["status"] == "cancelled"
        assert [(e.data.reason, e.sequence) for e in await orders.envelopes(RedemptionCancelled)] == [
            ("person", 2),
            ("person", 3),
        ]
        await orders.receive(hold(HoldReleased, asked["id"], reason="cancelled"))
        assert len(await orders.emitted(RedemptionCancelled)) == 2


async def test_cancelled_while_it_waits_the_code_is_void(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        shop, ann = await open_shop(orders), Person()
        waiting = await shop.confirmed(ann)
        cancelled = await shop.cancel(coordinator(shop.area_id), waiting["id"])
        assert (cancelled.json()["status"], cancelled.json()["pickup_code"]) == ("cancelled", None)
        assert refusal(await shop.collect(operator(), waiting["pickup_code"])) == (409, "redemption_ended")
        assert await shop.taken() == 0
        collected = await shop.confirmed(ann)
        await shop.collect(operator(), collected["pickup_code"])
        assert refusal(await shop.cancel(ann, collected["id"])) == (409, "already_collected")
        assert await shop.taken() == 1


async def test_no_answer_and_no_collection_end_it_at_their_deadlines(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        shop, ann = await open_shop(orders), Person()
        unanswered, waiting = (await shop.redeem(ann)).json(), await shop.confirmed(ann, 3)
        orders.clock.advance(seconds=59)
        await end_overdue(orders.db)
        assert await shop.taken() == 4
        orders.clock.advance(seconds=1)
        await asyncio.gather(end_overdue(orders.db), end_overdue(orders.db))
        ended = await shop.see(ann, unanswered["id"])
        assert (ended["status"], ended["reason"]) == ("cancelled", "no_answer")
        orders.clock.advance(days=14)
        await end_overdue(orders.db)
        ended = await shop.see(ann, waiting["id"])
        assert (ended["status"], ended["reason"], ended["deadline"]) == ("cancelled", "not_collected", None)
        assert [fact.reason for fact in await orders.emitted(RedemptionCancelled)] == ["no_answer", "not_collected"]
        assert await shop.taken() == 0


async def test_a_hold_that_points_let_go_ends_the_redemption(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        shop, ann = await open_shop(orders), Person()
        early, late = (await shop.redeem(ann)).json(), await shop.confirmed(ann)
        for redemption in (early, late):
            await orders.receive(hold(HoldReleased, redemption["id"]))
            ended = await shop.see(ann, redemption["id"])
            assert (ended["status"], ended["reason"]) == ("cancelled", "no_answer")
        assert await shop.taken() == 0


async def test_a_hold_for_a_redemption_that_is_not_here_waits_and_holds_up_no_other(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        shop, ann = await open_shop(orders), Person()
        asked = (await shop.redeem(ann)).json()
        await orders.receive(hold(HoldPlaced, uuid4()), hold(HoldPlaced, asked["id"]))
        assert (await shop.see(ann, asked["id"]))["status"] == "confirmed"
        async with orders.db.transaction() as session:
            assert list(await session.scalars(select(parked.c.state))) == ["retry"]


async def test_a_redemption_is_for_its_owner_and_those_who_hand_out_there(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        shop, ann = await open_shop(orders), Person()
        waiting = await shop.confirmed(ann)
        path, elsewhere = f"/redemptions/{waiting['id']}", await orders.add_area()
        for stranger in (Person(), merchant(elsewhere), coordinator(elsewhere)):
            assert (await orders.get(path, person=stranger)).status_code == 404
            assert (await shop.cancel(stranger, waiting["id"])).status_code == 404
        assert (await shop.cancel(merchant(shop.area_id), waiting["id"])).status_code == 404
        assert refusal(await shop.collect(ann, waiting["pickup_code"])) == (403, "forbidden")
        assert refusal(await shop.collect(merchant(elsewhere), waiting["pickup_code"])) == (403, "forbidden")
        assert refusal(await shop.collect(merchant(shop.area_id), "ABCDEFGHJK")) == (404, "not_found")
        assert (await orders.get(path)).status_code == 401
        for reader in (ann, merchant(shop.area_id), coordinator(shop.published.area_id), operator()):
            assert (await orders.get(path, person=reader)).status_code == 200
        assert (await orders.get("/me/redemptions", person=Person())).json()["items"] == []


async def test_fifty_at_once_take_ten_pieces_and_a_key_takes_one(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        shop, ann = await open_shop(orders, 10), Person()
        answers = await asyncio.gather(*[shop.redeem(Person()) for _ in range(50)])
        assert Counter(answer.status_code for answer in answers) == {202: 10, 409: 40}
        assert await shop.taken() == 10

        other = await open_shop(orders, 10)
        same = await asyncio.gather(*[other.redeem(ann, key="twice") for _ in range(20)])
        assert len({answer.text for answer in same}) == 1
        assert same[0].status_code == 202
        assert await other.taken() == 1
        assert refusal(await other.redeem(ann, 2, key="twice")) == (422, "key_reused")


async def test_a_lowered_stock_breaks_nothing_and_is_not_exceeded(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        shop, ann = await open_shop(orders, 5), Person()
        asked = (await shop.redeem(ann, 5)).json()
        await orders.receive(
            shop.published.model_copy(update={"stock": [CentreStock(centre_id=shop.centre_id, total=2)]}), sequence=2
        )
        assert await shop.taken() == 5
        await shop.cancel(ann, asked["id"])
        assert refusal(await shop.redeem(ann, 3)) == (409, "out_of_stock")
        assert (await shop.redeem(ann, 2)).status_code == 202


BAD_INPUT: list[dict[str, Any]] = [{"quantity": 0}, {"quantity": 101}, {"quantity": "1"}, {"centre_id": 5}, {"x": 1}]


async def test_bad_input_is_refused_with_its_field(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        good = {"centre_id": str(uuid4()), "quantity": 1}
        for body in BAD_INPUT:
            answer = await orders.post(f"/rewards/{uuid4()}/redemptions", person=Person(), json={**good, **body})
            assert refusal(answer) == (422, "invalid_input"), body
            assert answer.json()["errors"], body


async def test_an_unknown_reward_or_code_and_a_missing_key_are_refused(databases: Databases):
    async with run_service(SERVICE, databases) as orders:
        shop = await open_shop(orders)
        path, body = f"/rewards/{uuid4()}/redemptions", {"centre_id": str(shop.centre_id), "quantity": 1}
        assert refusal(await orders.post(path, person=Person(), json=body)) == (404, "not_arrived")
        assert refusal(await shop.redeem(Person(), headers={"Idempotency-Key": ""})) == (400, "key_missing")
        for code in ("", "A" * 41, "\u0000", 7):
            answer = await orders.post("/redemptions/collect", person=operator(), json={"pickup_code": code})
            assert refusal(answer) == (422, "invalid_input")
        assert refusal(await shop.collect(operator(), "- -")) == (404, "not_found")
