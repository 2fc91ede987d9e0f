"""One neighbourhood with something of everybody's in it, on all services and the gateway in this process.

Ann owns what a person can own, her organisation what an organisation can; the others are everybody who might try to
touch it. Roles are in their tokens, which are signed here; what they act on was made through the API.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
from sqlalchemy import text
from starlette.types import ASGIApp

from chassis.settings import Settings
from chassis.tables import outbox
from chassis.tokens import Grant, Signer, generate_key
from deploy.secrets import LOOKS_UP
from deploy.services import SERVICES
from services.members.keys import generate_keys
from standalone import Stack, build_stack
from tests.harness import Databases, Person

SETTLE_S = 60.0
PHONE = "13811112222"
# Who asks. `…_elsewhere` holds the role of the one without, in the neighbouring community or organisation.
NOBODY = "nobody"
# An operator who has no account, to make those who have.
FOUNDER = "founder"
PEOPLE = (
    "ann",
    "resident",
    "member",
    "admin",
    "admin_elsewhere",
    "coordinator",
    "coordinator_elsewhere",
    "merchant",
    "merchant_elsewhere",
    "device",
    "device_elsewhere",
    "operator",
)


@dataclass
class Scene:
    """The stack, who there is, and the ids (`things`) that paths and bodies name."""

    stack: Stack
    lookup_signers: Mapping[str, Signer]
    people: dict[str, Person] = field(default_factory=dict)
    things: dict[str, str] = field(default_factory=dict)
    _tokens: dict[str, tuple[datetime, str]] = field(default_factory=dict)

    def token(self, who: str) -> str:
        """A token of somebody with the roles they have, the same for a minute."""
        person, now = self.people[who], datetime.now(UTC)
        signed_at, token = self._tokens.get(who, (None, ""))
        if signed_at is None or now - signed_at > timedelta(minutes=1):
            signer: Signer = self.stack.apps["members"].state.parts.signer
            token = signer.access_token(person.id, person.id, person.grants, now)
            self._tokens[who] = now, token
        return token

    async def ask(
        self,
        who: str,
        method: str,
        path: str,
        body: Any = None,
        *,
        at: ASGIApp | None = None,
        query: Mapping[str, str] | None = None,
        token: str | None = None,
    ) -> httpx.Response:
        """What the gateway, or the application `at`, answers to somebody; `{names}` in the path are things."""
        headers = {"Idempotency-Key": uuid4().hex, "Accept-Language": "en"}
        if token or who != NOBODY:
            headers["Authorization"] = f"Bearer {token or self.token(who)}"
        transport = httpx.ASGITransport(at or self.stack.gateway, raise_app_exceptions=False)
        url = "http://linli" + path.format_map(self.things)
        request = httpx.Request(method, url, headers=headers, json=self.filled(body), params=self.filled(query))
        end = asyncio.get_running_loop().time() + SETTLE_S
        while True:
            answer = await transport.handle_async_request(request)
            await answer.aread()
            answer.request = request
            # On a machine that is busy with something else: nothing was decided.
            if answer.status_code != 503 or asyncio.get_running_loop().time() > end:
                return answer
            await asyncio.sleep(0.1)

    def filled(self, body: Any) -> Any:
        """The body with things in the place of their names."""
        if isinstance(body, dict):
            return {name: self.filled(value) for name, value in body.items()}
        if isinstance(body, list):
            return [self.filled(value) for value in body]
        return body.format_map(self.things) if isinstance(body, str) else body

    async def made(self, name: str, who: str, path: str, body: Any = None, key: str = "id") -> Any:
        """Have somebody make a thing, once what it stands on has arrived; its id is kept under the name."""
        answer = await self.until(lambda: self.ask(who, "POST", "/api/v1" + path, body), lambda got: got.is_success)
        self.things[name] = answer.json()[key]
        return answer.json()

    async def until(
        self, ask: Callable[[], Awaitable[httpx.Response]], wanted: Callable[[httpx.Response], bool]
    ) -> httpx.Response:
        """The first answer that is as wanted."""
        end = asyncio.get_running_loop().time() + SETTLE_S
        while not wanted(answer := await ask()):
            assert asyncio.get_running_loop().time() < end, f"{answer.request.url}: {answer.status_code} {answer.text}"
            await asyncio.sleep(0.03)
        return answer

    async def contents(self) -> dict[str, str]:
        """A checksum of every table of every service."""
        found = {}
        for service in SERVICES:
            async with self.stack.runtimes[service.name].db.transaction() as session:
                for table in service.metadata.sorted_tables:
                    rows = "coalesce(string_agg(t::text, '|' ORDER BY t::text), '')"
                    content = await session.scalar(text(f'SELECT {rows} FROM "{table.name}" t'))  # noqa: S608
                    found[f"{service.name}.{table.name}"] = hashlib.sha256(content.encode()).hexdigest()
        return found

    async def tables_with(self, words: str) -> list[str]:
        """The tables in which the words stand anywhere."""
        found = []
        for service in SERVICES:
            async with self.stack.runtimes[service.name].db.transaction() as session:
                for table in service.metadata.sorted_tables:
                    statement = text(f'SELECT count(*) FROM "{table.name}" t WHERE strpos(t::text, :words) > 0')  # noqa: S608
                    if await session.scalar(statement, {"words": words}):
                        found.append(f"{service.name}.{table.name}")
        return found

    async def settled(self) -> dict[str, str]:
        """The contents once nothing is on its way any more."""
        before: dict[str, str] = {}
        end = asyncio.get_running_loop().time() + SETTLE_S
        while (now := await self.contents()) != before or await self._under_way():
            assert asyncio.get_running_loop().time() < end, "it never settles"
            before = now
            await asyncio.sleep(0.2)
        return now

    async def _under_way(self) -> int:
        rows = 0
        for runtime in self.stack.runtimes.values():
            async with runtime.db.transaction() as session:
                rows += len((await session.execute(outbox.select())).all())
        return rows


@asynccontextmanager
async def neighbourhood(databases: Databases) -> AsyncIterator[Scene]:
    """The scene, made and settled."""
    keys = {name: generate_key() for name in LOOKS_UP}
    settings = Settings(
        environment="development",
        request_limit="1000000/second",
        otp_address_limit="1000000/second",
        **generate_keys(),  # type: ignore[arg-type]
    )
    stack = await build_stack(settings, databases.server_url, keys, database_prefix=databases.prefix("rights"))
    async with stack.running(settings):
        scene = Scene(stack, {name: Signer(pem) for name, pem in keys.items()})
        await _furnish(scene)
        await scene.settled()
        yield scene
        stack.stop_streams()


async def _furnish(scene: Scene) -> None:
    things, people, made = scene.things, scene.people, scene.made
    people[FOUNDER] = Person(grants=(Grant(role="operator"),))
    await made("city", FOUNDER, "/areas", {"level": "city", "name": "成都市"})
    for name in ("area", "area_elsewhere"):
        await made(name, FOUNDER, "/areas", {"parent_id": "{city}", "level": "community", "name": "社区"})
    for name, area in (("organisation", "area"), ("organisation_elsewhere", "area_elsewhere")):
        body = {"area_id": f"{{{area}}}", "name": "种子站党支部", "kind": "branch"}
        await made(name, FOUNDER, "/organisations", body)
    for who in PEOPLE:
        elsewhere = "_elsewhere" if who.endswith("_elsewhere") else ""
        area_id, organisation_id = (UUID(things[name + elsewhere]) for name in ("area", "organisation"))
        phone = {"phone": PHONE} if who == "ann" else {}
        body = {"display_name": "邻居", "area_id": "{area}", **phone}
        person = await made(who, FOUNDER, "/people", body, "person_id")
        role = who.removesuffix("_elsewhere")
        grants = {
            "admin": (Grant(role="organisation_admin", organisation_id=organisation_id),),
            "ann": (),
            "resident": (),
            "member": (),
            "operator": people[FOUNDER].grants,
        }.get(role, (Grant(role=role, area_id=area_id),))
        people[who] = Person(UUID(person["person_id"]), grants)
    await _belong(scene)
    await _offer(scene)
    await _take_part(scene)


async def _belong(scene: Scene) -> None:
    join = "/organisations/{organisation}/members"
    await scene.made("membership", "member", join)
    await scene.made("membership", "admin", join + "/{member}/confirm")
    await scene.made("asked", "ann", join)
    await scene.made("registration", "ann", "/registrations", {"area_id": "{area_elsewhere}"})
    role = {"person_id": "{merchant}", "role": "merchant", "area_id": "{area}"}
    await scene.made("role", "operator", "/roles", role)


async def _offer(scene: Scene) -> None:
    made = scene.made
    await made("centre", "operator", "/centres", {"area_id": "{area}", "name": "党群服务中心", "address": "玉林北路"})
    need = {"area_id": "{area}", "title": "修灯", "body": "楼道灯坏了"}
    for name in ("need", "need_too"):
        await made(name, "ann", "/needs", need)
    product = {
        "area_id": "{area}",
        "kind": "activity",
        "title": "乐园",
        "summary": "放学后的陪伴",
        "claim_capacity": 50,
    }
    for name in ("product", "product_too"):
        await made(name, "coordinator", "/products", {**product, "publish": True})
    of_organisation = {**product, "organisation_id": "{organisation}", "publish": True}
    await made("product_of_organisation", "coordinator", "/products", of_organisation)
    await made("draft", "admin", "/products", {**product, "organisation_id": "{organisation}"})
    start = datetime.now(UTC) + timedelta(days=1)
    times = {"starts_at": start.isoformat(), "ends_at": (start + timedelta(hours=2)).isoformat()}
    session = {**times, "venue": "邻里中心", "capacity": 50}
    for name in ("session", "session_too"):
        await made(name, "coordinator", "/products/{product}/sessions", session)
    await made(
        "session_asked", "coordinator", "/products/{product}/sessions", {**session, "confirmation": "coordinator"}
    )
    stock = [{"centre_id": "{centre}", "total": 50}]
    reward = {"area_id": "{area}", "title": "毛巾", "cost_points": 1, "stock": stock}
    await made("reward", "operator", "/rewards", reward)


async def _take_part(scene: Scene) -> None:
    made, things = scene.made, scene.things
    as_ann = {"claimant": {"type": "member", "id": "{ann}"}}
    as_organisation = {"claimant": {"type": "organisation", "id": "{organisation}"}}
    await made("claim", "ann", "/products/{product}/claims", as_ann)
    await made("claim_too", "ann", "/products/{product_too}/claims", as_ann)
    await made("claim_of_organisation", "admin", "/products/{product}/claims", as_organisation)
    booking = await made("booking", "ann", "/sessions/{session}/bookings", {"seats": 1})
    things["ticket"] = booking["ticket"]["code"]
    await made("booking_asked", "ann", "/sessions/{session_asked}/bookings", {"seats": 1})
    await made("attendance", "coordinator", "/attendances", {"claim_id": "{claim_too}", "action": "check_in"})

    def points() -> Awaitable[httpx.Response]:
        return scene.ask("ann", "GET", "/api/v1/me/points")

    await scene.until(points, lambda got: got.json()["balance"] >= 2)
    for name in ("redemption", "redemption_too"):
        await made(name, "ann", "/rewards/{reward}/redemptions", {"centre_id": "{centre}", "quantity": 1})

        def order(name: str = name) -> Awaitable[httpx.Response]:
            return scene.ask("ann", "GET", f"/api/v1/redemptions/{{{name}}}")

        ready = await scene.until(order, lambda got: got.json()["status"] == "confirmed")
        things[f"code_of_{name}"] = ready.json()["pickup_code"]
    messages = await scene.until(
        lambda: scene.ask("ann", "GET", "/api/v1/me/messages"), lambda got: len(got.json()["items"]) > 0
    )
    things["message"] = messages.json()["items"][0]["id"]
