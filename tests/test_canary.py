"""A canary's phone is nowhere to be read but sealed in members, and after the erasure nothing of it is anywhere.

Logs, traces, events, and all rows of all databases, outboxes and dead letters among them, are searched in every form.
Of what a person wrote themselves, before the erasure, only the services' own rows and the events that are declared to
carry words have any. Backups, and pages that PostgreSQL has yet to overwrite, keep what they had: see decisions/0022.
"""

from __future__ import annotations

import base64
import io
import json
import logging
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
import structlog
from sqlalchemy import text

from chassis.bus import InProcessBus, Letter
from chassis.parked import park
from chassis.telemetry import configure_logging
from contracts.event import EVENT_TYPES, parse
from standalone import Stack
from tests.canary import Canary
from tests.chassis.buses import eventually
from tests.harness import Databases
from tests.test_tracing import traced
from tests.whole import linli

PHONE = Canary("13987650421")
NAME = Canary("钱多多Quokkaworth")
WORDS = Canary("轮椅坡道Wheelchairramp")
WITHIN_S = 60


class Overheard(InProcessBus):
    """Keeps every letter that goes over it."""

    def __init__(self) -> None:
        super().__init__()
        self.letters: list[Letter] = []

    async def publish(self, letters: Sequence[Letter]) -> list[Exception | None]:
        self.letters.extend(letters)
        return await super().publish(letters)


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.BytesIO]:
    """All that is logged, as production logs it; the libraries' lines too."""
    written = io.BytesIO()
    stderr = io.TextIOWrapper(written, write_through=True)
    libraries = logging.StreamHandler(stderr)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stderr)
        configure_logging("json")
    logging.getLogger().addHandler(libraries)
    yield written
    logging.getLogger().removeHandler(libraries)
    configure_logging("text")


@dataclass
class Story:
    """A whole Linli in this process, and what can be overheard of it."""

    stack: Stack
    bus: Overheard
    logs: io.BytesIO
    spans: Any
    client: httpx.AsyncClient
    tokens: dict[str, str] = field(default_factory=dict)

    async def call(self, who: str, method: str, path: str, body: object = None, status: int | None = None) -> Any:
        headers = {"Idempotency-Key": uuid4().hex, "Accept-Language": "en"}
        if who in self.tokens:
            headers["Authorization"] = f"Bearer {self.tokens[who]}"
        answer = await self.client.request(method, path, json=body, headers=headers)
        assert answer.is_success if status is None else answer.status_code == status, f"{method} {path} {answer.text}"
        return answer.json() if answer.content else None

    async def until(self, who: str, path: str, holds: Any) -> Any:
        async def found() -> bool:
            return bool(holds(await self.call(who, "GET", path)))

        await eventually(found, WITHIN_S)

    async def sign_in(self, who: str, phone: str) -> str:
        challenge = (await self.call(who, "POST", "/auth/otp", {"phone": phone}))["challenge_id"]
        codes: list[str] = []

        async def came() -> bool:
            sent = (await self.call("nobody", "POST", "/dev/sms", {"phone": phone}))["messages"]
            codes[:] = [message["code"] for message in sent if message["code"]]
            return bool(codes)

        await eventually(came, WITHIN_S)
        answer = await self.call(who, "POST", "/auth/token", {"challenge_id": challenge, "code": codes[0]})
        self.tokens[who] = answer["access_token"]
        return str(answer["person_id"])

    async def rows(self) -> dict[str, str]:
        """Every row of every table, as a dump has them: binary columns in hexadecimal digits."""
        found = {}
        for service, runtime in self.stack.runtimes.items():
            async with runtime.db.transaction() as session:
                tables = await session.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))
                for table in tables.all():
                    rows = await session.scalars(text(f'SELECT t::text FROM "{table}" t'))  # noqa: S608
                    found[f"{service}.{table}"] = "\n".join(rows)
        return found

    async def places(self, canary: Canary) -> set[str]:
        """Where the canary is now."""
        there = {place for place, rows in (await self.rows()).items() if canary.count(rows)}
        told = "\n".join(span.to_json() for span in self.spans.get_finished_spans())
        return there | {name for name, said in (("logs", self.logs.getvalue()), ("traces", told)) if canary.count(said)}

    def events_with(self, canary: Canary) -> set[str]:
        """Types of the events that carry it."""
        return {parse(letter.document).type for letter in self.bus.letters if canary.count(letter.document)}


@pytest.fixture
async def story(databases: Databases, server_url: str, logs: io.BytesIO) -> AsyncIterator[Story]:
    async with running(databases, server_url, logs) as made:
        yield made


@asynccontextmanager
async def running(databases: Databases, server_url: str, logs: io.BytesIO) -> AsyncIterator[Story]:
    bus = Overheard()
    with traced() as spans:
        async with linli(databases, server_url, bus) as stack:
            transport = httpx.ASGITransport(stack.gateway)
            async with httpx.AsyncClient(transport=transport, base_url="http://linli/api/v1") as client:
                yield Story(stack, bus, logs, spans, client)


async def live(story: Story) -> str:
    """Let the canary do what people do; their id."""
    credentials = {"username": "operator", "password": "linli-development"}
    story.tokens["boss"] = (await story.call("nobody", "POST", "/auth/token", credentials))["access_token"]
    area = (await story.call("boss", "POST", "/areas", {"level": "city", "name": "成都市"}))["id"]
    me = await story.sign_in("canary", PHONE.said)
    await story.call("canary", "PATCH", "/me", {"display_name": NAME.said})
    await story.call("canary", "POST", "/registrations", {"area_id": area})
    words = {"title": WORDS.said, "body": f"{NAME.said}: {WORDS.said}", "place": NAME.said}
    needs = [await story.call("canary", "POST", "/needs", {"area_id": area, **words}) for _ in range(3)]
    await story.call("boss", "POST", f"/needs/{needs[0]['id']}/decline", {"reason": f"{NAME.said} 请再说明"})
    offer = {"kind": "activity", "title": "无障碍改造", "summary": "坡道", "claim_capacity": 2}
    accepted = await story.call("boss", "POST", f"/needs/{needs[1]['id']}/accept", {"product": offer})
    product = accepted["product"]["id"]
    claimant = {"claimant": {"type": "member", "id": me}}
    claim = (await story.call("canary", "POST", f"/products/{product}/claims", claimant))["id"]
    await story.call("canary", "POST", f"/claims/{claim}/sign")
    await story.call("canary", "POST", f"/claims/{claim}/progress", {"percent": 50, "note": WORDS.said})
    attendance = await story.call("boss", "POST", "/attendances", {"claim_id": claim, "action": "check_in"})
    await _review(story, area, product)
    await story.call("boss", "POST", f"/attendances/{attendance['id']}/void", {"reason": f"{NAME.said} 没有来"})
    await _book(story, product)
    await story.call("canary", "POST", "/auth/otp", {"phone": PHONE.said})
    await story.until("canary", "/me/messages", lambda page: len(page["items"]) >= 5)
    await _bury(story)
    return me


async def _review(story: Story, area: str, product: str) -> None:
    ben = await story.sign_in("ben", "13700000002")
    await story.call("ben", "POST", "/registrations", {"area_id": area})
    claimant = {"claimant": {"type": "member", "id": ben}}
    claim = (await story.call("ben", "POST", f"/products/{product}/claims", claimant))["id"]
    await story.call("ben", "POST", f"/claims/{claim}/sign")
    await story.call("boss", "POST", f"/claims/{claim}/complete")
    review = {"subject": {"type": "claim", "id": claim}, "stars": 5, "text": WORDS.said}
    await story.call("canary", "POST", "/reviews", review)


async def _book(story: Story, product: str) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    times = {"starts_at": tomorrow.isoformat(), "ends_at": (tomorrow + timedelta(hours=1)).isoformat()}
    terms = {**times, "capacity": 5, "venue": "邻里中心"}
    session = (await story.call("boss", "POST", f"/products/{product}/sessions", terms))["id"]
    await story.until("boss", f"/sessions/{session}", lambda _: True)
    await story.call("canary", "POST", f"/sessions/{session}/bookings", {"seats": 1})


async def _bury(story: Story) -> None:
    """A fact in the canary's words becomes a dead letter, one waits for its retry, and one cannot be read at all."""
    declined = next(letter for letter in story.bus.letters if "need_declined" in letter.routing_key)
    async with story.stack.runtimes["notify"].db.transaction() as session:
        for state in ("dead", "retry"):
            document, kind = declined.document, parse(declined.document).type
            await park(session, uuid4(), kind, "k", document, f"ValueError({WORDS.said!r})", attempts=5, state=state)
        await park(session, uuid4(), "unreadable", "unreadable", declined.document + "?", "unreadable", state="dead")


OWN_ROWS = {"members.people", "catalog.needs", "orders.progress_updates", "orders.reviews", "orders.attendances"}
TOLD = {"notify.messages", "notify.stream_items", "notify.deliveries", "notify.sandbox_sms", "notify.parked"}


async def test_a_phone_is_nowhere_and_after_the_erasure_nothing_is_anywhere(story: Story) -> None:
    me = await live(story)
    assert await story.places(PHONE) == set()
    assert story.events_with(PHONE) == set()
    with_words = {kind.type for kind in EVENT_TYPES.values() if kind.own_words}
    for canary in (NAME, WORDS):
        found = await story.places(canary)
        assert found <= OWN_ROWS | TOLD, canary
        assert found & OWN_ROWS, "the search finds what is there"
        assert story.events_with(canary) <= with_words
    export = await story.call("canary", "GET", "/me/export")
    assert PHONE.count(json.dumps(export, ensure_ascii=False)) == 1

    await story.call("canary", "DELETE", "/me", status=204)

    async def forgotten() -> bool:
        return not any([await story.places(canary) for canary in (PHONE, NAME, WORDS)])

    await eventually(forgotten, WITHIN_S)
    about_me = {place for place, rows in (await story.rows()).items() if me in rows}
    assert {"members.audit_entries", "orders.claims"} <= about_me
    assert "members.people" not in about_me


async def test_control_a_service_that_logs_or_traces_a_phone_is_found(story: Story) -> None:
    await story.sign_in("canary", PHONE.said)
    assert await story.places(PHONE) == set()
    structlog.get_logger("notify").info("sms_sent", to=PHONE.said)
    assert await story.places(PHONE) == {"logs"}


async def test_control_a_service_that_keeps_a_phone_is_found(story: Story) -> None:
    await story.sign_in("canary", PHONE.said)
    async with story.stack.runtimes["notify"].db.transaction() as session:
        keep = {"key": uuid4(), "to": "x", "text": base64.b64encode(f"An {PHONE.said}!".encode()).decode()}
        statement = "INSERT INTO sandbox_sms (key, phone_hash, text, sent_at) VALUES (:key, :to, :text, now())"
        await session.execute(text(statement), keep)
    assert await story.places(PHONE) == {"notify.sandbox_sms"}


@pytest.mark.parametrize("around", ["{}", "a{}", "ab{}c", "tel: {}; x"])
@pytest.mark.parametrize("canary", [PHONE, NAME, WORDS])
def test_every_form_is_found(canary: Canary, around: str) -> None:
    said = around.format(canary.said)
    forms = (
        said,
        json.dumps(said),
        said.encode().hex(),
        base64.b64encode(said.encode()).decode(),
        base64.urlsafe_b64encode(said.encode()).decode(),
        said.encode("utf-16-le"),
    )
    assert all(canary.count(form) for form in forms)
    assert not canary.count(said.replace(canary.said[2], "_"))
