"""Requests that are sent again, through the door: one key, one effect, one answer."""

from __future__ import annotations

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx

from tests.chaos.orders import Neighbour, Neighbourhood
from tests.chaos.stack import FailingStack
from tests.journeys.compose import wait_until

KEYS, TIMES = 100, 50


def rows(stack: FailingStack, title: str) -> list[str]:
    """Ids of the claims of a product."""
    return [claim for (claim,) in stack.sql("orders", f"SELECT id FROM claims WHERE title LIKE '{title}%'")]  # noqa: S608


def claim(member: Neighbour, product: str, key: str, **more: Any) -> httpx.Response:
    member.stay_signed_in()
    body = {"claimant": {"type": "member", "id": member.actor.id, **more}}
    return member.actor.http.post(f"/products/{product}/claims", json=body, headers={"Idempotency-Key": key})


def test_100_keys_sent_50_times_at_once_have_100_effects_and_the_same_answers(
    stack: FailingStack, neighbourhood: Neighbourhood, rng: random.Random
) -> None:
    run, members = f"retries {rng.randrange(16**6):06x}", neighbourhood.members
    products = [neighbourhood.publish(f"{run} {number}") for number in range(-(-KEYS // len(members)))]
    jobs = [(member, product, uuid4().hex) for product in products for member in members][:KEYS]
    with ThreadPoolExecutor(TIMES) as pool:
        for member, product, key in jobs:
            sent = [pool.submit(claim, member, product, key) for _ in range(TIMES)]
            answers = [one.result() for one in sent]
            # Five seconds are long, but this machine may be busy: who heard that it is still being decided asks again.
            late = [answer for answer in answers if answer.status_code == 409]
            assert all(answer.json()["type"].endswith(":still_deciding") for answer in late)
            answers = [answer for answer in answers if answer not in late] + [claim(member, product, key) for _ in late]
            assert Counter((answer.status_code, answer.text) for answer in answers).most_common()[0][1] == TIMES
            assert answers[0].status_code == 201
        member, product, key = jobs[0]
        assert claim(member, product, key, id=members[1].actor.id).status_code == 422
    assert len(rows(stack, run)) == KEYS


def test_killed_after_the_commit_the_retry_gives_the_answer_that_was_decided(
    stack: FailingStack, neighbourhood: Neighbourhood, rng: random.Random
) -> None:
    title, member = f"killed {rng.randrange(16**6):06x}", neighbourhood.members[0]
    product, key = neighbourhood.publish(title), uuid4().hex
    body = {"claimant": {"type": "member", "id": member.actor.id}}
    path, headers = f"/products/{product}/claims", {"Idempotency-Key": key}
    # So that the next transaction of a request is this one's.
    wait_until(lambda: member.actor.http.get(f"/products/{product}").is_success, 30, "the product is not there")
    with ThreadPoolExecutor(1) as pool:
        dying = pool.submit(stack.die_at, "orders", "request.after_commit")
        first = member.send("POST", path, 201, json=body, headers=headers)
        dying.result()
    again = member.send("POST", path, 201, json=body, headers=headers)
    assert again.text == first.text
    assert rows(stack, title) == [first.json()["id"]]
