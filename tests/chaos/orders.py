"""Orders placed while things fail: every one is sent, with one key, until it is accepted; then what follows from it.

An order is a claim. Some of those who claim also come (a check-in, worth points), and some of them then redeem points
for a reward, which they fetch or give back.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx

from tests.journeys.people import Actor, operator, sign_in

MEMBERS = 30
WORKERS = 12
# Of a hundred orders: how many come, and how many of those redeem points afterwards.
COME_OF_100 = 30
REDEEM_OF_100 = 10
RETRY_S = 0.3
# Far longer than any fault: an order that is not accepted by then is one that never will be.
PATIENCE_S = 180.0
REFRESH_S = 120.0


class Neighbour:
    """Somebody who sends a request again, as clients do, until it is answered as it should."""

    def __init__(self, actor: Actor, failures: Counter[str]) -> None:
        self.actor = actor
        self.failures = failures
        self._signed_in = time.monotonic()
        self._lock = threading.Lock()

    def send(self, method: str, path: str, *wanted: int, **options: Any) -> httpx.Response:
        """The answer whose status is wanted; whatever else is answered, or not, counts as a failure and is repeated."""
        end = time.monotonic() + PATIENCE_S
        last = ""
        while time.monotonic() < end:
            self.stay_signed_in()
            try:
                answer = self.actor.http.request(method, path, **options)
            except httpx.TransportError as error:
                last = type(error).__name__
            else:
                if answer.status_code in wanted:
                    return answer
                last = f"{answer.status_code} {answer.json().get('type', '').rpartition(':')[2]}"
            self.failures[f"{method} {last}"] += 1
            time.sleep(RETRY_S)
        raise AssertionError(f"{method} {path} is still answered {last} after {PATIENCE_S:.0f} s")

    def stay_signed_in(self) -> None:
        """Tokens last five minutes. While members is away the old one still serves."""
        with self._lock:
            if time.monotonic() - self._signed_in > REFRESH_S:
                answer = self.actor.http.post("/auth/refresh", json={"refresh_token": self.actor.refresh_token})
                if answer.is_success:
                    self.actor.take_tokens(answer.json())
                    self._signed_in = time.monotonic()
                else:
                    self._signed_in += 5


@dataclass
class Placed:
    """What was answered: claims by id, who came, redemptions by id. The key of the latter two is (title, person)."""

    claims: dict[str, tuple[str, str]] = field(default_factory=dict)
    came: set[tuple[str, str]] = field(default_factory=set)
    redemptions: dict[str, str] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)


class Neighbourhood:
    """Members with some points, a reward to spend them on, and the operator who publishes and checks in."""

    def __init__(self, url: str, members: int = MEMBERS) -> None:
        self._open = ExitStack()
        self._failures: Counter[str] = Counter()
        self.staff = Neighbour(self._open.enter_context(operator(url)), self._failures)
        city = self.staff.actor.post("/areas", {"level": "city", "name": "成都市"})
        self.area: str = city["id"]
        centre = self.staff.actor.post("/centres", {"area_id": self.area, "name": "积分超市", "address": "玉林北路"})
        stock = [{"centre_id": centre["id"], "total": 1_000_000}]
        reward = {"area_id": self.area, "title": "毛巾", "cost_points": 1, "stock": stock}
        self._reward = self.staff.actor.post("/rewards", reward, 201)["id"]
        self._redemption = {"centre_id": centre["id"], "quantity": 1}
        self.members = [Neighbour(self._open.enter_context(sign_in(url)), self._failures) for _ in range(members)]
        for member in self.members:
            member.actor.post("/registrations", {"area_id": self.area})

    def close(self) -> None:
        self._open.close()

    def publish(self, title: str) -> str:
        """Id of a product that every member can claim."""
        body = {
            "area_id": self.area,
            "kind": "project",
            "title": title,
            "summary": "实现一个愿望。",
            "claimants": "members",
            "claim_capacity": len(self.members),
            "publish": True,
        }
        return str(self.staff.send("POST", "/products", 201, json=body).json()["id"])

    @contextmanager
    def ordering(self, run: str, orders: int, seconds: float, rng: random.Random) -> Iterator[Placed]:
        """Place so many orders, spread over so many seconds, from before the block until all are accepted."""
        self._failures.clear()
        placed = Placed(failures=self._failures)
        titles = [f"{run} {number}" for number in range(-(-orders // len(self.members)))]
        products = [(title, self.publish(title)) for title in titles]
        jobs = [(title, product, member) for title, product in products for member in self.members][:orders]
        deeds = [rng.randrange(100) for _ in jobs]
        began, over = time.monotonic(), threading.Event()
        numbers, lock = iter(range(len(jobs))), threading.Lock()

        def work() -> None:
            while not over.is_set():
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                time.sleep(max(0.0, began + number * seconds / orders - time.monotonic()))
                self._order(placed, *jobs[number], deeds[number])

        with ThreadPoolExecutor(WORKERS + 1) as pool:
            stirring = pool.submit(self._stir, over)
            working = [pool.submit(work) for _ in range(WORKERS)]
            try:
                yield placed
                for worker in working:
                    worker.result()
            finally:
                over.set()
            stirring.result()

    def _order(self, placed: Placed, title: str, product: str, member: Neighbour, deed: int) -> None:
        person = member.actor.id
        request = {"claimant": {"type": "member", "id": person}}
        key = {"Idempotency-Key": uuid4().hex}
        claim = member.send("POST", f"/products/{product}/claims", 201, json=request, headers=key).json()
        placed.claims[claim["id"]] = (title, person)
        if deed < COME_OF_100:
            body = {"claim_id": claim["id"], "action": "check_in"}
            self.staff.send("POST", "/attendances", 200, 201, json=body)
            placed.came.add((title, person))
        if deed < REDEEM_OF_100:
            self.end_redemption(self.ask_for_reward(placed, member), member, fetch=bool(deed % 2))

    def ask_for_reward(self, placed: Placed, member: Neighbour) -> str:
        """Id of a redemption that has begun."""
        key = {"Idempotency-Key": uuid4().hex}
        path = f"/rewards/{self._reward}/redemptions"
        redemption = str(member.send("POST", path, 202, json=self._redemption, headers=key).json()["id"])
        placed.redemptions[redemption] = member.actor.id
        return redemption

    def end_redemption(self, redemption_id: str, member: Neighbour, *, fetch: bool) -> None:
        """Wait for what becomes of it; then fetch the reward, or give it back."""
        end = time.monotonic() + PATIENCE_S
        while (redemption := member.send("GET", f"/redemptions/{redemption_id}", 200).json())["status"] == "requested":
            assert time.monotonic() < end, f"redemption {redemption_id} hears nothing"
            time.sleep(RETRY_S)
        if redemption["status"] == "confirmed" and fetch:
            code = {"pickup_code": redemption["pickup_code"]}
            self.staff.send("POST", "/redemptions/collect", 200, 409, json=code)
        elif redemption["status"] == "confirmed":
            member.send("POST", f"/redemptions/{redemption_id}/cancel", 200)

    def _stir(self, over: threading.Event) -> None:
        """So that every service tells something and hears something, whatever the orders are about."""
        while not over.wait(1):
            city = {"parent_id": self.area, "level": "community", "name": f"社区 {uuid4().hex[:6]}"}
            self.staff.send("POST", "/areas", 201, json=city)
            self.staff.send("POST", "/auth/otp", 202, json={"phone": f"198{random.randrange(10**8):08d}"})
            claim = {"json": {"claimant": {"type": "member", "id": self.members[0].actor.id}}}
            key = {"Idempotency-Key": uuid4().hex}
            product = self.publish(f"stir {uuid4().hex[:6]}")
            self.members[0].send("POST", f"/products/{product}/claims", 201, headers=key, **claim)
