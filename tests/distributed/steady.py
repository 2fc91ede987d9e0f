"""A steady load on orders, of so many requests a second: half read, half claim."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Self
from uuid import NAMESPACE_URL, uuid4, uuid5

import aiohttp

from tests.chassis.buses import eventually
from tests.distributed.neighbours import publish
from tests.journeys.people import Actor

RATE = 200
# A machine that cannot keep up is asked less often, and not for ever more at once.
AT_ONCE = 100
TIMEOUT_S = 30
# A token is good for five minutes.
RENEW_S = 120


@dataclass(frozen=True)
class Member:
    """Somebody who may claim, and the tokens they were given when they signed in."""

    id: str
    token: str
    refresh_token: str


class Steady:
    """The load, within the block. An answer that is not the expected one, and a request without any, is a failure.

    Every claim has a key of its own, and comes again with it when all have been claimed: it must answer as it did.
    """

    def __init__(self, url: str, trusted: str | None, staff: Actor, area: str, *, members: int, products: int) -> None:
        self.answered: Counter[str] = Counter()
        self.failures: list[str] = []
        self.slowest_s = 0.0
        self._url = f"{url}/api/v1"
        self._ssl = ssl.create_default_context(cafile=trusted)
        self._members = [_member(url, staff, area) for _ in range(members)]
        self._products = [publish(staff, area, capacity=members) for _ in range(products)]
        self._tokens = {member.id: f"Bearer {member.token}" for member in self._members}
        self._claims: dict[str, str] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=0, ssl=self._ssl, keepalive_timeout=3)
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        self._http = await self._stack.enter_async_context(aiohttp.ClientSession(connector=connector, timeout=timeout))
        self._http._retry_connection = False  # by itself it sends what was lost once more, and nobody sees that
        self._over, self._turns = asyncio.Event(), asyncio.Semaphore(AT_ONCE)
        self._running = asyncio.create_task(self._run())
        self._renewing = asyncio.create_task(self._renew())
        await self.until_answered(RATE)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._over.set()
        self._renewing.cancel()
        await self._running
        await self._stack.aclose()

    def __str__(self) -> str:
        return f"{dict(self.answered)} answered, the slowest in {self.slowest_s:.2f} s, {len(self.failures)} failed"

    async def until_answered(self, more: int) -> None:
        """Until so many more requests have had an end."""
        wanted = self.ended + more
        await eventually(lambda: self.ended >= wanted, 120)

    @property
    def ended(self) -> int:
        return self.answered.total() + len(self.failures)

    async def _run(self) -> None:
        begun = time.monotonic()
        async with asyncio.TaskGroup() as asking:
            for number, request in enumerate(self._requests()):
                await asyncio.sleep(begun + number / RATE - time.monotonic())
                await self._turns.acquire()
                if self._over.is_set():
                    return
                asking.create_task(self._ask(*request))

    def _requests(self) -> Iterator[tuple[str, Member, str]]:
        for product, member in cycle([(product, member) for product in self._products for member in self._members]):
            yield "claim", member, product
            yield "look", member, product

    async def _ask(self, kind: str, member: Member, product: str) -> None:
        asked = time.monotonic()
        try:
            if kind == "look":
                await self._send("GET", f"/products/{product}", 200, member)
            else:
                await self._claim(member, product)
        except (aiohttp.ClientError, TimeoutError, AssertionError) as error:
            self.failures.append(f"{kind}: {error!r}")
        else:
            self.answered[kind] += 1
            self.slowest_s = max(self.slowest_s, time.monotonic() - asked)
        finally:
            self._turns.release()

    async def _claim(self, member: Member, product: str) -> None:
        key = str(uuid5(NAMESPACE_URL, f"{member.id}/{product}"))
        body = {"claimant": {"type": "member", "id": member.id}}
        answer = await self._send("POST", f"/products/{product}/claims", 201, member, body, {"Idempotency-Key": key})
        assert self._claims.setdefault(key, answer["id"]) == answer["id"], "another claim for the same key"

    async def _send(
        self,
        method: str,
        path: str,
        status: int,
        member: Member,
        body: Any = None,
        headers: dict[str, str] | None = None,
    ) -> Any:
        sent = {"Authorization": self._tokens[member.id], **(headers or {})}
        async with self._http.request(method, self._url + path, json=body, headers=sent) as answer:
            text = await answer.text()
            assert answer.status == status, f"{answer.status} {text}"
            return await answer.json()

    async def _renew(self) -> None:
        refresh = {member.id: member.refresh_token for member in self._members}
        while True:
            await asyncio.sleep(RENEW_S)
            for member in self._members:
                given = await self._send("POST", "/auth/refresh", 200, member, {"refresh_token": refresh[member.id]})
                self._tokens[member.id], refresh[member.id] = f"Bearer {given['access_token']}", given["refresh_token"]


def _member(url: str, staff: Actor, area: str) -> Member:
    """With a password, as staff have: nobody can be sent a code."""
    account = {"username": f"member-{uuid4().hex[:12]}", "password": "a password of theirs"}
    staff.post("/staff", {**account, "display_name": "邻居"}, 201)
    with Actor(url) as actor:
        given = actor.post("/auth/token", account)
        actor.take_tokens(given).post("/registrations", {"area_id": area})
        return Member(actor.id, given["access_token"], given["refresh_token"])
