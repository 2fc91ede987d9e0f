"""`docs/dependencies.md`, row by row: what is answered while a part is away, and that all is well again soon after."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import pytest

from tests.distributed.test_outages import ROUTES
from tests.journeys.compose import RECOVERY_S, SERVICES, ComposeStack, wait_until
from tests.journeys.people import Actor, sign_in
from tests.journeys.standalone import ROOT

# For what the table says, on a machine that does other things as well.
GRACE_S = 3.0
# One of each kind; that parts which stop take only their own along, test_outages.py shows, too.
ALWAYS = {("members", "hangs"), ("postgres", "hangs"), ("rabbitmq", "hangs"), ("database of orders", "refuses")}


@dataclass(frozen=True)
class Row:
    """One row: `away` services answer 503 `within_s`."""

    part: str
    how: str
    away: frozenset[str]
    within_s: float
    not_ready: frozenset[str]


def services_in(cell: str) -> frozenset[str]:
    return frozenset(SERVICES) if cell == "all" else frozenset(cell.replace("–", "").split())


def rows() -> list[Row]:
    lines = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("| ")]
    return [Row(part, how, services_in(away), float(s), services_in(ready)) for part, how, away, s, ready in cells[1:]]


def set_connection_limit(stack: ComposeStack, service: str, limit: int) -> None:
    name = f"linli_{service}"
    cut = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"  # noqa: S608
    limited = f"ALTER DATABASE {name} CONNECTION LIMIT {limit}"
    stack.execute("postgres", "psql", "-qU", "postgres", "-c", limited, "-c", cut)


@contextmanager
def away(stack: ComposeStack, part: str, how: str) -> Iterator[None]:
    """The part is away as long as the block lasts."""
    begin: Callable[[], object]
    end: Callable[[], object]
    if how == "refuses":
        service = part.removeprefix("database of ")
        begin, end = lambda: set_connection_limit(stack, service, 0), lambda: set_connection_limit(stack, service, -1)
    elif how == "hangs":
        containers = stack.containers(part)
        begin, end = lambda: stack.docker("pause", *containers), lambda: stack.docker("unpause", *containers)
    else:
        begin, end = lambda: stack.stop(part), lambda: stack.start(part)
    begin()
    try:
        yield
    finally:
        end()


def refused(member: Actor) -> tuple[frozenset[str], float]:
    """Which services' routes are answered 503, all asked at once, and after how many seconds the last one was."""

    def ask(path: str) -> httpx.Response:
        return member.http.get(path)

    began = time.monotonic()
    with ThreadPoolExecutor(len(ROUTES)) as pool:
        answers = dict(zip(ROUTES, pool.map(ask, ROUTES.values()), strict=True))
    took_s = time.monotonic() - began
    for service, answer in answers.items():
        assert answer.status_code in {200, 503}, f"{service}: {answer.status_code} {answer.text}"
        if answer.status_code == 503:
            assert answer.json()["type"] == "urn:linli:problem:unavailable"
            assert int(answer.headers["retry-after"]) > 0
    return frozenset(name for name, answer in answers.items() if answer.status_code == 503), took_s


def not_ready(stack: ComposeStack) -> frozenset[str]:
    answer = httpx.get(f"{stack.url}/readyz", timeout=10)
    if answer.status_code == 503:
        return frozenset(SERVICES)
    return frozenset(name for name, state in answer.json()["services"].items() if state != "ready")


def test_every_service_and_its_database_and_the_broker_have_their_rows() -> None:
    told = {(row.part, row.how) for row in rows()}
    expected = {(part, how) for part in (*SERVICES, "rabbitmq", "postgres") for how in ("stops", "hangs")}
    assert told == expected | {(f"database of {name}", "refuses") for name in SERVICES}


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row.part} {row.how}")
def test_what_is_answered_while_a_part_is_away(row: Row, request: pytest.FixtureRequest, stack: ComposeStack) -> None:
    if (row.part, row.how) not in ALWAYS and not request.config.getoption("--chaos"):
        pytest.skip("make chaos")
    started = started_at(stack, row)
    with sign_in(stack.url) as member:
        assert refused(member)[0] == frozenset()
        with away(stack, row.part, row.how):
            found, took_s = refused(member)
            assert found == row.away
            assert took_s < row.within_s + GRACE_S
            wait_until(lambda: not_ready(stack) == row.not_ready, 15, f"not ready: {not_ready(stack)}")
            assert httpx.get(f"{stack.url}/healthz", timeout=5).status_code == 200
        wait_until(lambda: refused(member)[0] == frozenset(), RECOVERY_S, "not everything is answered again")
        stack.until_ready()
    assert started_at(stack, row) == started


def started_at(stack: ComposeStack, row: Row) -> dict[str, str]:
    """When every other part was started."""
    others = [service for service in (*SERVICES, "gateway") if service != row.part]
    return {container["Name"]: container["State"]["StartedAt"] for container in stack.inspect(*others)}
