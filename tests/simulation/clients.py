"""The people of the neighbourhood and what they send: requests with tokens, keys, and a memory of what was answered."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from services.members.sign_ins import open_sign_in
from tests.simulation.process import Process
from tests.simulation.world import START

# A client takes a new token a little before its token ends.
TOKEN_USED_S = 280


@dataclass(frozen=True)
class Request:
    """What somebody asks. A POST carries a key; sent once more, it is the same request."""

    service: str
    method: str
    path: str
    person: UUID | None = None
    body: Any = None
    key: str = ""
    # Under which name the id of what it makes is remembered.
    makes: str = ""

    def __str__(self) -> str:
        return f"{self.method} {self.path}" + (f" {self.body}" if self.body else "")


@dataclass(frozen=True)
class Answer:
    status: int
    json: Any


@dataclass
class Memory:
    """What the clients know: what time it is, and whatever answers told them."""

    now: datetime = START

    things: dict[str, list[Any]] = field(default_factory=dict)
    # How many places, seats, pieces each thing was ever offered with: nobody may ever hold more of it.
    offered: dict[str, int] = field(default_factory=dict)
    makers: dict[Any, UUID | None] = field(default_factory=dict)
    status: dict[Any, str] = field(default_factory=dict)
    # Requests that may be sent once more, and what was answered to their keys.
    asked: list[Request] = field(default_factory=list)
    answered: dict[str, Answer] = field(default_factory=dict)

    def of(self, kind: str) -> list[Any]:
        return self.things.setdefault(kind, [])

    def offer(self, thing: object, capacity: int) -> None:
        self.offered[str(thing)] = max(capacity, self.offered.get(str(thing), 0))

    def note(self, request: Request, answer: Answer) -> None:
        """Remember what a good answer told."""
        if answer.status >= 300 or not isinstance(answer.json, dict):
            return
        if "status" in answer.json:
            self.status[answer.json["id"]] = answer.json["status"]
        if request.makes:
            self._know(request.makes, answer.json["id"], request.person)
        if request.makes == "session":
            self.offer(answer.json["id"], answer.json["capacity"])
        if "product" in answer.json:
            self._know("product", answer.json["product"]["id"], request.person)
            self.offer(answer.json["product"]["id"], answer.json["product"]["claim_capacity"])
        if answer.json.get("pickup_code"):
            self._know("pickup_code", answer.json["pickup_code"], request.person)

    def _know(self, kind: str, thing: Any, maker: UUID | None) -> None:
        if thing not in self.of(kind):
            self.of(kind).append(thing)
            self.makers[thing] = maker


@dataclass(frozen=True)
class _Token:
    text: str
    until: datetime


class Wallet:
    """Everybody's access tokens. A new one comes of a sign-in at members, with the roles held then."""

    def __init__(self) -> None:
        self._tokens: dict[UUID, _Token] = {}

    async def token(self, person: UUID, members: Process) -> str:
        held = self._tokens.get(person)
        now = members.runtime.world.now()
        if held is None or held.until <= now:
            async with members.runtime.db.transaction() as session:
                signed = await open_sign_in(session, members.app.state.parts.signer, person)
            held = self._tokens[person] = _Token(signed.access_token, now + timedelta(seconds=TOKEN_USED_S))
        return held.text

    def drop(self, person: UUID) -> None:
        self._tokens.pop(person, None)


async def send(request: Request, process: Process, wallet: Wallet, members: Process) -> Answer:
    """The answer; a client whose token is refused signs in again and asks once more."""
    answer = await _send(request, process, wallet, members)
    if answer.status == 401 and request.person is not None:
        wallet.drop(request.person)
        answer = await _send(request, process, wallet, members)
    return answer


async def _send(request: Request, process: Process, wallet: Wallet, members: Process) -> Answer:
    headers = {"Idempotency-Key": request.key} if request.key else {}
    if request.person is not None:
        headers["Authorization"] = f"Bearer {await wallet.token(request.person, members)}"
    response = await process.request(request.method, request.path, headers, request.body)
    return Answer(response.status_code, response.json() if response.content else None)
