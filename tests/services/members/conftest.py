"""Members as its tests run it: with keys of its own, and with a harness that signs its tokens by them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import httpx
import pytest

from chassis.settings import Settings
from chassis.tokens import Signer, Verifier, generate_key
from services.members.app import SERVICE
from services.members.keys import generate_keys
from services.members.passwords import Passwords
from services.members.staff import ensure_operator
from tests.harness import Databases, Person, ServiceUnderTest, operator, run_service

OPERATOR_PASSWORD = "correct horse battery"
NOTIFY = Signer(generate_key())
KEYS = generate_keys()


@dataclass
class Members:
    """The running service, and what nearly every test does with it."""

    service: ServiceUnderTest

    def __getattr__(self, name: str) -> Any:
        return getattr(self.service, name)

    async def code_for(self, phone: str, **options: Any) -> tuple[str, str]:
        """A challenge and its code, read as notify reads it."""
        challenge = (await self.service.post("/auth/otp", json={"phone": phone}, **options)).json()["challenge_id"]
        letter = await self.look_up(f"/internal/challenges/{challenge}", "challenges")
        return challenge, letter.json()["code"]

    async def sign_in(self, phone: str) -> Any:
        challenge, code = await self.code_for(phone)
        answer = await self.service.post("/auth/token", json={"challenge_id": challenge, "code": code})
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def resident(self, phone: str = "13800000001") -> Person:
        """Somebody with an account; the harness signs further tokens for them."""
        return Person(id=UUID((await self.sign_in(phone))["person_id"]))

    async def bearer(self, method: str, path: str, access_token: str, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {access_token}"}
        return await self.service.request(method, path, headers=headers, **options)

    async def look_up(self, path: str, scope: str) -> httpx.Response:
        token = NOTIFY.service_token("notify", scope, self.service.clock())
        return await self.service.get(path, headers={"Authorization": f"Bearer {token}"})

    async def area(self, parent_id: str | None = None, level: str = "community", **fields: Any) -> Any:
        body = {"parent_id": parent_id, "level": level, "name": "玉林北路社区", **fields}
        answer = await self.service.post("/areas", person=operator(), json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    async def organisation(self, area_id: str, **fields: Any) -> Any:
        body = {"area_id": area_id, "name": "种子站党支部", "kind": "branch", **fields}
        answer = await self.service.post("/organisations", person=operator(), json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]


@asynccontextmanager
async def run_members(databases: Databases, **options: Any) -> AsyncIterator[Members]:
    keys = {"service_keys": {"notify": NOTIFY.public_keys()}, "settings": settings_with(KEYS), **options}
    async with run_service(SERVICE, databases, **keys) as service:
        service.signer = service.app.state.parts.signer

        async def own_keys() -> Mapping[str, Any]:
            return service.signer.public_keys()

        service.runtime.verifier = Verifier(own_keys, service.clock)
        yield Members(service)


def settings_with(keys: Mapping[str, Any], **others: Any) -> Settings:
    return Settings(environment="development", **{**keys, **others})


@pytest.fixture
async def members(databases: Databases) -> AsyncIterator[Members]:
    async with run_members(databases) as running:
        yield running


class PlainPasswords(Passwords):
    """Hashes nothing: for tests of how often a password may be tried, which would else take a minute."""

    async def hash(self, password: str) -> str:
        return password

    async def matches(self, password: str, kept: str | None) -> bool:
        return password == kept


@pytest.fixture
async def quick(databases: Databases) -> AsyncIterator[Members]:
    """Members with an operator whose password is not hashed."""
    async with run_members(databases) as running:
        passwords = PlainPasswords()
        running.app.state.parts = replace(running.app.state.parts, passwords=passwords)
        await ensure_operator(running.db, passwords, "operator", OPERATOR_PASSWORD)
        yield running


@pytest.fixture
async def staffed(databases: Databases) -> AsyncIterator[Members]:
    """Members with the first operator; hashing a password takes its time, so only where it matters."""
    settings = settings_with(KEYS, operator_password=OPERATOR_PASSWORD)
    async with run_members(databases, settings=settings) as running:
        yield running
