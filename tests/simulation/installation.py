"""The whole installation in one process: copies of every service, the bus between them, and one step of any of them."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import httpx
from pydantic import SecretStr
from starlette.types import Receive, Scope, Send

from chassis.settings import Settings
from chassis.tokens import Signer, generate_key
from deploy.services import SERVICES
from tests.simulation.bus import WaitingBus
from tests.simulation.clients import Answer, Memory, Request, Wallet, send
from tests.simulation.databases import Shelf
from tests.simulation.parts import Build, keep_house
from tests.simulation.process import Process, Surroundings

COPIES = {"members": 1, "catalog": 2, "orders": 2, "points": 2, "notify": 2}
# The second copies' machines go wrong by this much.
SKEW = timedelta(seconds=2)
SETTINGS = Settings(
    environment="development",
    arrival_wait_s=0,
    contact_key=SecretStr("c2ltdWxhdGVkIGNvbnRhY3Qga2V5IG9mIDMyIGJ5dGU="),
    phone_index_key=SecretStr("c2ltdWxhdGVkIGluZGV4ICBrZXkgb2YgMzIgYnl0ZXM="),
    token_key=SecretStr(generate_key()),
)
SIGNER = Signer(generate_key())


class MembersAway(httpx.ConnectError):
    """Members does not answer just now."""


class Installation:
    """Started with `start`, on databases that are as they should be at the beginning."""

    def __init__(self, shelf: Shelf, memory: Memory, build: Build | None = None) -> None:
        self.shelf = shelf
        self.memory = memory
        self.clock = shelf.clock
        self.clock.time = memory.now
        self.bus = WaitingBus()
        self.wallet = Wallet()
        self.members_away = False
        self._members = httpx.AsyncClient(transport=httpx.ASGITransport(self._look_up), base_url="http://members")
        around = Surroundings(SETTINGS, self.bus, self._members, SIGNER, build or Build())
        self.processes = {
            process.name: process
            for service in SERVICES
            for number in range(COPIES[service.name])
            for process in [Process(service, number, *shelf.pool(service.name, number, SKEW * number), around)]
        }

    async def start(self) -> None:
        for process in self.processes.values():
            await process.start()

    async def stop(self) -> None:
        for process in self.processes.values():
            await process.stop()
        await self._members.aclose()

    def seed(self, name: str) -> None:
        """Everything random from here on follows from this name."""
        for process in self.processes.values():
            process.world.random.seed(f"{name}/{process.name}")
        self.bus.random.seed(f"{name}/bus")

    def copies(self, service: str) -> list[Process]:
        return [process for process in self.processes.values() if process.service.name == service]

    async def ask(self, request: Request, process: Process) -> Answer | None:
        """The answer; None where the process died on it."""
        return await process.do(send(request, process, self.wallet, self.processes["members/0"]))

    async def hand_over(self, process: Process, documents: list[str], *, keep: bool = False) -> bool:
        """Hand letters of its queue to the process, and take them from the queue unless they are to come again."""
        handled = await process.do(process.receive(documents))
        if handled and not keep:
            for document in documents:
                if document in self.bus.queues[process.service.name]:
                    self.bus.queues[process.service.name].remove(document)
        return bool(handled)

    async def keep_house(self) -> None:
        for process in self.processes.values():
            await keep_house(process.service.name, process.runtime)

    async def has_facts_to_send(self, service: str) -> bool:
        query = "SELECT true FROM outbox WHERE next_at <= $1 LIMIT 1"
        return bool(await self.shelf.value(service, query, self.clock.time))

    async def pending(self) -> dict[str, int]:
        """What is under way: facts to send, letters to hand over, events to try again, messages to deliver."""
        found = {"letters": self.bus.waiting()}
        for service in SERVICES:
            for what, query in _pending(service.name).items():
                found[f"{service.name} {what}"] = (await self.shelf.rows(service.name, query))[0]["count"]
        return {what: count for what, count in found.items() if count}

    async def settle(self, rng: random.Random) -> None:
        """Without further faults, until nothing is under way: only what waits for its time is waited for."""
        self.bus.faults, self.members_away = 0, False
        for _ in range(SETTLE_ROUNDS_MAX):
            pending = await self.pending()
            if not pending:
                return
            if not await self._go_on(rng, pending):
                self.clock.advance(PAUSE_S)
        raise AssertionError(f"it does not come to rest: {await self.pending()}")

    async def _go_on(self, rng: random.Random, pending: dict[str, int]) -> int:
        """Every service does once what it has to do, any of its copies; returns how much was done."""
        done = 0
        for name in rng.sample(list(COPIES), len(COPIES)):
            process = rng.choice(self.copies(name))
            if f"{name} {TO_SEND}" in pending:
                done += await process.relay()
            queue = self.bus.queues[name]
            if queue:
                done += await self.hand_over(process, rng.sample(queue, len(queue)))
            if f"{name} {TO_RETRY}" in pending:
                done += await process.inbox.retry_due()
            if f"{name} {TO_DELIVER}" in pending:
                done += int(await process.chores["send"]())  # type: ignore[call-overload]
        return done

    async def _look_up(self, scope: Scope, receive: Receive, send_back: Send) -> None:
        if self.members_away and scope["path"].startswith("/internal"):
            raise MembersAway("simulated")
        await self.processes["members/0"].app(scope, receive, send_back)


TO_SEND, TO_RETRY, TO_DELIVER = "facts to send", "events to try again", "messages to deliver"
SETTLE_ROUNDS_MAX = 400
# Longer than every pause between two attempts but the last; what is due in between is due then as well.
PAUSE_S = 61


def _pending(service: str) -> dict[str, str]:
    queries = {
        TO_SEND: "SELECT count(*) FROM outbox",
        TO_RETRY: "SELECT count(*) FROM parked WHERE state = 'retry'",
    }
    if service == "notify":
        queries[TO_DELIVER] = "SELECT count(*) FROM deliveries WHERE state IN ('waiting', 'sending')"
    return queries


def first(answer: Answer | None) -> Any:
    """The JSON of an answer that has to be a good one."""
    assert answer is not None
    assert answer.status < 300, answer
    return answer.json
