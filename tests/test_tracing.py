"""One trace from the request at the door to the handlers' statements, on each bus; and nothing in it that is secret."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from chassis.bus import Bus, InProcessBus, Letter
from chassis.db import Database
from chassis.rabbit import RabbitBus
from chassis.telemetry import Origin, following
from chassis.topology import declare, topology_of
from chassis.tracing import span, together, trace_with, traceparent
from chassis.world import World
from deploy.services import SERVICES
from standalone import Stack
from tests.chassis.buses import eventually
from tests.chassis.parts import must_fail, registered
from tests.chassis.test_telemetry import real_logs
from tests.chassis.toy import SERVICE as TOY
from tests.harness import Databases, Person, run_service
from tests.whole import linli

PHONE = "19912345678"
EVENT_ID = "0198c0de-0000-7000-8000-000000000001"
STRANGER = "00-11111111111111111111111111111111-2222222222222222-01"


@contextmanager
def traced() -> Iterator[InMemorySpanExporter]:
    """Trace into memory."""
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace_with(provider.get_tracer("test"))
    try:
        yield exporter
    finally:
        trace_with(None)


class Forgetful(InProcessBus):
    """The weaker part of a control: it loses the trace."""

    async def publish(self, letters: Sequence[Letter]) -> list[Exception | None]:
        return await super().publish([self._without(letter) for letter in letters])

    def _without(self, letter: Letter) -> Letter:
        wire = {name: value for name, value in json.loads(letter.document).items() if name != "traceparent"}
        return Letter(letter.event_id, letter.routing_key, json.dumps(wire))


async def ask_for_a_code(stack: Stack) -> httpx.Response:
    transport = httpx.ASGITransport(stack.gateway)
    async with httpx.AsyncClient(transport=transport, base_url="http://linli") as client:
        headers = {"traceparent": STRANGER}
        return await client.post(f"/api/v1/auth/otp?hint={PHONE}", json={"phone": PHONE}, headers=headers)


def trace_of(exporter: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    """The spans of the trace in which a span of this name was made."""
    spans = exporter.get_finished_spans()
    ids = {one.context.trace_id for one in spans if one.name == name and one.context}
    return [one for one in spans if one.context and one.context.trace_id in ids]


def path_to_root(spans: Sequence[ReadableSpan], leaf: ReadableSpan) -> list[str]:
    by_id = {one.context.span_id: one for one in spans if one.context}
    names = [leaf.name]
    while leaf.parent is not None:
        leaf = by_id[leaf.parent.span_id]
        names.append(leaf.name)
    return names[::-1]


async def walks_from_the_door_to_the_statements(
    databases: Databases, server_url: str, bus: Bus, within_s: float = 30
) -> list[ReadableSpan]:
    route, told = "POST /api/v1/auth/otp", "linli.members.sign_in_challenged.v1"
    with traced() as exporter:
        async with linli(databases, server_url, bus) as stack:
            assert (await ask_for_a_code(stack)).status_code == 202

            def handled() -> bool:
                return any(one.name == f"handle {told}" for one in exporter.get_finished_spans())

            await eventually(handled, within_s)
        spans = trace_of(exporter, route)
        inserted = [
            path_to_root(spans, one)
            for one in spans
            if str((one.attributes or {}).get("db.query.text")).startswith("INSERT INTO deliveries")
        ]
        assert inserted == [[route, route, f"tell {told}", f"handle {told}", "INSERT"]]
    return list(spans)


async def test_one_trace_leads_from_the_door_through_the_bus_to_the_handlers_statements(
    databases: Databases, server_url: str
) -> None:
    spans = await walks_from_the_door_to_the_statements(databases, server_url, InProcessBus())
    assert PHONE not in "".join(one.to_json() for one in spans), "neither query, body nor parameters"
    assert STRANGER[3:35] not in "".join(one.to_json() for one in spans), "a stranger does not say which trace"
    roots = [one for one in spans if one.parent is None]
    assert [(one.attributes or {})["linli.part"] for one in roots] == ["gateway"]


async def test_over_rabbitmq_it_is_one_trace_too(
    databases: Databases, server_url: str, amqp_url: str, amqp_prefix: str
) -> None:
    await declare(amqp_url, topology_of(SERVICES, prefix=amqp_prefix))
    bus = RabbitBus(amqp_url, "test", prefix=amqp_prefix)
    await walks_from_the_door_to_the_statements(databases, server_url, bus)


async def test_control_a_bus_that_loses_the_trace_is_seen(databases: Databases, server_url: str) -> None:
    await must_fail(walks_from_the_door_to_the_statements, databases, server_url, Forgetful(), within_s=3)


async def test_a_group_commit_is_linked_with_every_request_it_answers(databases: Databases) -> None:
    with traced() as exporter:
        parents = []
        for number in range(3):
            with span(f"request {number}", root=True):
                parents.append(traceparent())
        with together("decide", [*parents, None]), span("statement"):
            pass
        spans = exporter.get_finished_spans()
    by_name: dict[str, list[Any]] = defaultdict(list)
    for one in spans:
        by_name[one.name].append(one)
    [batch] = by_name["decide, together"]
    requests = {one.context.trace_id for number in range(3) for one in by_name[f"request {number}"]}
    assert {link.context.trace_id for link in batch.links} == requests
    assert {one.context.trace_id for one in by_name["decide"]} == requests
    assert {one.links[0].context.span_id for one in by_name["decide"]} == {batch.context.span_id}
    assert by_name["statement"][0].parent.span_id == batch.context.span_id


async def test_events_handled_together_are_each_in_their_own_trace(databases: Databases) -> None:
    with traced() as exporter:
        async with run_service(TOY, databases) as toy:
            people = [Person() for _ in range(2)]
            for person in people:
                assert (await toy.post("/notes", person=person, json={"said": "hi"})).status_code == 201
            await toy.envelopes(type(registered().data))
            await toy.inbox.receive([letter.document for letter in toy.bus.letters])
        spans = exporter.get_finished_spans()
    handled = [one for one in spans if one.name.startswith("handle ") and not one.name.endswith("together")]
    asked = [one for one in spans if one.name == "POST /api/v1/notes"]
    assert {one.context.trace_id for one in handled} == {one.context.trace_id for one in asked}
    assert len(handled) == 2


async def note_twice(db: Database) -> None:
    with span("request", root=True):
        async with db.transaction() as session:
            for _ in range(2):
                await session.execute(
                    text("INSERT INTO inbox (event_id, received_at) VALUES (:id, now())"), {"id": EVENT_ID}
                )


async def test_a_failed_statement_shows_its_kind_and_no_row(databases: Databases) -> None:
    with traced() as exporter:
        db = Database(await databases.fresh(TOY), World())
        try:
            with pytest.raises(IntegrityError):
                await note_twice(db)
        finally:
            await db.close()
        written = "".join(one.to_json() for one in exporter.get_finished_spans())
    assert "UniqueViolationError" in written
    assert EVENT_ID not in written


async def test_what_strangers_make_up_and_who_watches_leaves_nothing_in_traces(databases: Databases) -> None:
    with traced() as exporter:
        async with run_service(TOY, databases) as toy:
            await toy.request(f"M{PHONE}", f"/nothing/{PHONE}")
            await toy.client.get("/readyz")
        spans = exporter.get_finished_spans()
    assert PHONE not in "".join(one.to_json() for one in spans)
    assert [one.name for one in spans if one.kind is SpanKind.SERVER] == ["request"]


async def test_a_line_in_the_log_names_its_trace(databases: Databases, capsys: pytest.CaptureFixture[str]) -> None:
    with traced() as exporter, real_logs("text"):
        async with run_service(TOY, databases) as toy:
            await toy.get("/notes")
        [made] = [one for one in exporter.get_finished_spans() if one.kind is SpanKind.SERVER]
    assert made.context
    assert f"{made.context.trace_id:032x}" in capsys.readouterr().err


def test_nothing_is_traced_unless_a_collector_is_named() -> None:
    with span("request", root=True) as made, together("decide", [STRANGER]), following(Origin("r-1", STRANGER)):
        assert traceparent() is None
        assert not made.is_recording()
