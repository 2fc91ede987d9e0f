"""Standalone, killed at any moment: what was answered is there after the next start, with its consequences, each once.

KILLS says how often (100).
"""

from __future__ import annotations

import os
import random
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from tests.chaos.conftest import Results
from tests.chaos.orders import RETRY_S
from tests.chaos.reckoning import Fault
from tests.journeys.people import Actor, operator, sign_in
from tests.journeys.standalone import Standalone

KILLS = int(os.environ.get("KILLS", "100"))
# From its first answer to its end.
LIFE_S = (0.05, 1.5)
CLAIMANTS = 4
REST_S = 0.05
FOLLOWED_WITHIN_S = 60.0


class Claimants:
    """Members who claim one product after another as fast as they are answered, each claim with one key until it is."""

    def __init__(self, members: list[Actor], products: list[str]) -> None:
        self.members = members
        self._products = [iter(products) for _ in members]
        self._pending: list[tuple[str, str] | None] = [None] * len(members)
        self.claims: dict[str, str] = {}

    def work(self, url: str, over: threading.Event) -> None:
        """Until it is over, or nothing answers any more."""
        threads = [threading.Thread(target=self._claim, args=(n, url, over)) for n in range(len(self.members))]
        for thread in threads:
            thread.start()
        over.wait()
        for thread in threads:
            thread.join()

    def _claim(self, number: int, url: str, over: threading.Event) -> None:
        member = self.members[number]
        claimant = {"claimant": {"type": "member", "id": member.id}}
        headers = dict(member.http.headers)
        with httpx.Client(base_url=url + "/api/v1", timeout=20, headers=headers) as client, suppress(httpx.HTTPError):
            while not over.is_set():
                # A claim whose answer was lost is sent again, with its key, after the next start.
                product, key = self._pending[number] or (next(self._products[number], ""), uuid4().hex)
                if not product:
                    return
                self._pending[number] = (product, key)
                sent = {"json": claimant, "headers": {"Idempotency-Key": key}}
                answer = client.post(f"/products/{product}/claims", **sent)  # type: ignore[arg-type]
                if answer.status_code == 201:
                    self.claims[answer.json()["id"]] = member.id
                    self._pending[number] = None
                    time.sleep(REST_S)
                else:
                    assert "retry-after" in answer.headers, answer.text
                    time.sleep(RETRY_S)


def refreshed(url: str, actor: Actor) -> None:
    """The same person at a Linli that has a new address and was down for a while."""
    actor.http.close()
    actor.http = httpx.Client(base_url=url + "/api/v1", timeout=20)
    actor.refresh()


def test_killed_at_any_moment_it_loses_nothing_and_does_nothing_twice(
    tmp_path: Path, rng: random.Random, results: Results
) -> None:
    data, found = tmp_path / "data", Fault("standalone killed")
    limits = {"LINLI_REQUEST_LIMIT": "100000/10 seconds", "LINLI_OTP_ADDRESS_LIMIT": "10000/hour"}
    with ExitStack() as stack:
        linli = Standalone(data, limits)
        stack.callback(lambda: linli.stop())  # noqa: PLW0108 - the last of them, whichever that is
        url = linli.wait_ready()
        staff = stack.enter_context(operator(url))
        claimants = Claimants(*settle_in(stack, url, staff))
        for _ in range(KILLS):
            over = threading.Event()
            working = threading.Thread(target=claimants.work, args=(url, over))
            working.start()
            time.sleep(rng.uniform(*LIFE_S))
            linli.process.kill()
            linli.process.wait()
            over.set()
            working.join()
            linli = Standalone(data, limits)
            url = linli.wait_ready()
            for actor in (staff, *claimants.members):
                refreshed(url, actor)
        over = threading.Event()
        threading.Timer(2, over.set).start()
        claimants.work(url, over)
        reckon(found, staff, claimants)
    results.add(found)
    assert found.orders > KILLS
    assert (found.lost, found.duplicates) == (0, 0), found
    assert found.effects == found.delivered == found.expected


def settle_in(stack: ExitStack, url: str, staff: Actor) -> tuple[list[Actor], list[str]]:
    """Members who can claim, and more products than they will come to."""
    area = staff.post("/areas", {"level": "city", "name": "成都市"})["id"]
    members = [stack.enter_context(sign_in(url)) for _ in range(CLAIMANTS)]
    for member in members:
        member.post("/registrations", {"area_id": area})
    body = {
        "area_id": area,
        "kind": "project",
        "title": "微心愿",
        "summary": "实现",
        "claimants": "members",
        "claim_capacity": CLAIMANTS,
        "publish": True,
    }
    products = [staff.post("/products", body, 201)["id"] for _ in range(20 * KILLS)]
    return members, products


def reckon(found: Fault, staff: Actor, claimants: Claimants) -> None:
    """Claims on the pages, awards in the ledger, messages: each as many as there are claims, once all has followed."""
    found.orders = len(claimants.claims)
    found.expected = 2 * found.orders
    end = time.monotonic() + FOLLOWED_WITHIN_S
    while True:
        effects = [effects_of(member) for member in claimants.members]
        owed = [list(claimants.claims.values()).count(member.id) for member in claimants.members]
        short = sum(max(0, want - have) for want, pair in zip(owed, effects, strict=True) for have in pair)
        if not short or time.monotonic() > end:
            break
        time.sleep(0.5)
    found.effects = sum(have for pair in effects for have in pair)
    found.lost = short
    found.delivered = found.expected - short
    found.duplicates = found.effects - found.delivered
    rows = [len(everything(member, "/me/claims", "items")) for member in claimants.members]
    assert rows == owed, "claims that were answered are not those that are there"
    check = staff.get("/points/ledger/check")
    assert (check["sum"], check["negative_accounts"], check["mismatched_accounts"]) == (0, 0, 0)


def effects_of(member: Actor) -> tuple[int, int]:
    """How many of the member's claims were awarded, and of how many they were told."""
    entries, messages = everything(member, "/me/points", "entries"), everything(member, "/me/messages", "items")
    awards = sum(entry["reason"]["rule"] == "claim" for entry in entries)
    return awards, sum(message["template"] == "claim_accepted" for message in messages)


def everything(actor: Actor, path: str, name: str) -> list[dict[str, Any]]:
    """All pages of a list."""
    page = actor.get(path, params={"limit": 100})
    found: list[dict[str, Any]] = page[name]
    while page["next_cursor"]:
        page = actor.get(path, params={"limit": 100, "cursor": page["next_cursor"]})
        found += page[name]
    return found
