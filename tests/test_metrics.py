"""Figures for Prometheus: what they say, what they cost, who can read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from chassis.bus import InProcessBus
from chassis.metrics import Metrics, Sample, serving
from chassis.outbox import emit
from contracts.members import PersonRegistered
from deploy.services import SERVICES
from tests.chassis.buses import eventually
from tests.chassis.parts import registered
from tests.chassis.toy import SERVICE
from tests.harness import Databases, Person, ServiceUnderTest, run_service
from tests.whole import linli

PHONE = "19912345678"


async def read(metrics: Metrics) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Samples by name."""
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families((await metrics.page()).decode()):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


async def value(toy: ServiceUnderTest, name: str, **labels: str) -> float | None:
    for found, number in (await read(toy.runtime.metrics)).get(name, []):
        if labels.items() <= found.items():
            return number
    return None


async def test_requests_are_counted_by_route_method_and_status(databases: Databases) -> None:
    async with run_service(SERVICE, databases) as toy:
        for said in ("one", "two", "no"):
            await toy.post(f"/boards/{PHONE}/notes?phone={PHONE}", person=Person(), json={"said": said})
        route = {"part": "toy", "method": "POST", "route": "/api/v1/boards/{board}/notes"}
        count = "linli_http_request_seconds_count"
        assert await value(toy, count, **route, status="201") == 2
        assert await value(toy, count, **route, status="403") == 1
        assert await value(toy, "linli_http_request_seconds_bucket", **route, status="201", le="+Inf") == 2
        assert (await value(toy, "linli_http_request_seconds_sum", **route, status="201") or 0) > 0
        assert PHONE not in (await toy.runtime.metrics.page()).decode()


async def test_strangers_do_not_make_the_page_longer(databases: Databases) -> None:
    async with run_service(SERVICE, databases) as toy:
        await toy.get("/nothing")
        before = len((await toy.runtime.metrics.page()).splitlines())
        for number in range(50):
            await toy.request(f"M{number}", f"/nothing/{number}")
        assert len((await toy.runtime.metrics.page()).splitlines()) == before
        assert await value(toy, "linli_http_request_seconds_count", route="", status="404") == 51


async def test_who_watches_the_process_is_not_counted(databases: Databases) -> None:
    async with run_service(SERVICE, databases) as toy:
        assert (await toy.client.get("/readyz")).status_code == 200
        assert "linli_http_request_seconds_count" not in await read(toy.runtime.metrics)


async def test_the_outbox_shows_its_size_and_the_age_of_its_oldest_fact(databases: Databases) -> None:
    async with run_service(SERVICE, databases) as toy:
        assert await value(toy, "linli_outbox_age_seconds") == 0
        for _ in range(2):
            async with toy.db.transaction() as session:
                emit(session, PersonRegistered(person_id=uuid4(), locale="en"), sequence=1)
            toy.clock.advance(seconds=90)
        assert await value(toy, "linli_outbox_rows") == 2
        assert await value(toy, "linli_outbox_age_seconds") == 180
        await toy.emitted(PersonRegistered)
        assert await value(toy, "linli_outbox_rows") == 0


async def test_the_inbox_shows_what_it_handled_what_waits_and_what_is_dead(databases: Databases) -> None:
    async with run_service(SERVICE, databases) as toy:
        # The application's own inbox, as the bus would call it.
        toys = toy.bus._subscribers[0]
        await toys.receive([registered().to_json(), registered().to_json(), registered(locale="poison").to_json()])
        kind = PersonRegistered.type
        assert await value(toy, "linli_events_handled_total", type=kind) == 2
        assert await value(toy, "linli_event_failures_total") == 1
        assert await value(toy, "linli_retries_waiting") == 1
        await toys.bury(["no event"])
        assert await value(toy, "linli_dead_letters") == 1


async def test_trouble_with_the_bus_shows(databases: Databases) -> None:
    async with run_service(SERVICE, databases) as toy:
        assert await value(toy, "linli_bus_trouble") == 0
        toy.bus.trouble = lambda: "the queue has no consumer"  # type: ignore[method-assign]
        assert await value(toy, "linli_bus_trouble") == 1


async def test_a_part_without_its_database_says_that_it_cannot_tell(databases: Databases) -> None:
    async with run_service(SERVICE, databases) as toy:
        assert await value(toy, "linli_up", part="toy") == 1

        async def away() -> Sequence[Sample]:
            raise ConnectionError("the database is away")

        toy.runtime.metrics.add("other", away)
        assert await value(toy, "linli_up", part="other") == 0
        assert await value(toy, "linli_up", part="toy") == 1


async def test_every_service_tells_its_own_figures_on_one_page(databases: Databases, server_url: str) -> None:
    async with linli(databases, server_url, InProcessBus()) as stack:

        async def all_told() -> bool:
            return len((await read(stack.metrics)).get("linli_outbox_rows", [])) == len(SERVICES)

        await eventually(all_told, within_s=30)
        found = await read(stack.metrics)
        for service in SERVICES:
            for figure in service.figures:
                assert [labels for labels, _ in found[f"linli_{figure.name}"]] == [{"part": service.name}]
        assert found["linli_ledger_imbalance"][0][1] == 0


async def fetch(url: str) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.get(url)


async def test_they_are_read_on_a_port_of_their_own_and_nowhere_else(
    databases: Databases, unused_tcp_port: int
) -> None:
    async with run_service(SERVICE, databases) as toy:
        assert (await toy.client.get("/metrics")).status_code == 404
        async with serving(toy.runtime.metrics, "127.0.0.1", unused_tcp_port):
            answer = await fetch(f"http://127.0.0.1:{unused_tcp_port}/metrics")
            assert answer.headers["content-type"].startswith("text/plain")
            assert "linli_outbox_rows" in answer.text
            assert (await fetch(f"http://127.0.0.1:{unused_tcp_port}/")).status_code == 404
        with pytest.raises(httpx.ConnectError):
            await fetch(f"http://127.0.0.1:{unused_tcp_port}/metrics")


async def test_without_a_port_nothing_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("it listens")

    monkeypatch.setattr("aiohttp.web.TCPSite.__init__", refuse)
    async with serving(Metrics(), "127.0.0.1", None):
        pass
    with pytest.raises(AssertionError):  # the control: with one, it would
        async with serving(Metrics(), "127.0.0.1", 1):
            pass
