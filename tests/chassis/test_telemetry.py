"""Logs say what happened and keep secrets; a request's id is in its answer, its log lines and its facts."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Literal
from uuid import UUID

import pytest
import structlog

from chassis.telemetry import configure_logging
from contracts.members import PersonRegistered
from tests.chassis.toy import SERVICE
from tests.harness import Databases, Person, ServiceUnderTest, operator, run_service

CANARY = "13812345678"


both_formats = pytest.mark.parametrize("output", ["text", "json"])


@contextmanager
def real_logs(output: Literal["text", "json"]) -> Iterator[None]:
    """Log as a process would."""
    before = structlog.get_config()
    configure_logging(output)
    try:
        yield
    finally:
        structlog.configure(**before)


@asynccontextmanager
async def logged(databases: Databases, output: Literal["text", "json"]) -> AsyncIterator[ServiceUnderTest]:
    with real_logs(output):
        async with run_service(SERVICE, databases) as toy:
            yield toy


@both_formats
async def test_query_strings_tokens_and_bodies_are_never_logged(
    databases: Databases, capsys: pytest.CaptureFixture[str], output: Literal["text", "json"]
) -> None:
    async with logged(databases, output) as toy:
        ann = Person()
        await toy.get(f"/notes?phone={CANARY}", person=ann)
        await toy.post("/notes", person=ann, key=CANARY, json={"said": CANARY})
        await toy.post("/notes", person=ann, key=CANARY, json={"said": CANARY, CANARY: 1})
        await toy.get("/secret", headers={"Authorization": f"Bearer {CANARY}"})
        await toy.get("/secret", headers={"X-Request-Id": f"{CANARY} {CANARY}", "Cookie": CANARY})
        token = toy.token(ann)
    written = "".join(capsys.readouterr())
    assert "/api/v1/notes" in written
    assert CANARY not in written
    assert not [part for part in token.split(".") if part in written]


@both_formats
async def test_a_traceback_shows_neither_local_variables_nor_rows(
    databases: Databases, capsys: pytest.CaptureFixture[str], output: Literal["text", "json"]
) -> None:
    async with logged(databases, output) as toy:
        ann = operator()
        assert (await toy.post("/notes", person=ann, key=CANARY, json={"said": "break"})).status_code == 500
        await toy.post("/notes", person=ann, json={"said": "clash"})
        assert (await toy.post("/notes", person=ann, json={"said": "clash"})).status_code == 500
    written = "".join(capsys.readouterr())
    assert "a defect" in written
    assert "UniqueViolation" in written
    assert CANARY not in written
    assert str(ann.id) not in written, "neither the statement's parameters nor PostgreSQL's DETAIL"


@both_formats
async def test_a_defect_tells_its_caller_nothing_and_the_log_what_it_was(
    databases: Databases, capsys: pytest.CaptureFixture[str], output: Literal["text", "json"]
) -> None:
    async with logged(databases, output) as toy:
        answer = await toy.post("/notes", person=Person(), json={"said": "break"}, headers={"Accept-Language": "en"})
        assert answer.json() == {
            "type": "urn:linli:problem:internal",
            "title": "Our mistake",
            "status": 500,
            "detail": "Something went wrong on our side.",
        }
    written = capsys.readouterr().err
    assert "ArithmeticError" in written
    assert answer.headers["X-Request-Id"] in written


async def test_a_request_keeps_the_id_it_came_with(databases: Databases) -> None:
    async with run_service(SERVICE, databases) as toy:
        answer = await toy.get("/notes", headers={"X-Request-Id": "abc_DEF-12345678"})
        assert answer.headers["X-Request-Id"] == "abc_DEF-12345678"
        assert (await toy.get("/nothing", headers={"X-Request-Id": "abc_DEF-12345678"})).headers["X-Request-Id"]


@pytest.mark.parametrize("given", [None, "", "short", "x" * 65, "with space 1", "line\tbreak", "umläut-12345678"])
async def test_a_request_without_a_usable_id_gets_one(databases: Databases, given: str | None) -> None:
    async with run_service(SERVICE, databases) as toy:
        headers = [] if given is None else [(b"X-Request-Id", given.encode())]
        first, second = [(await toy.client.get("/healthz", headers=headers)) for _ in range(2)]
        assert UUID(first.headers["X-Request-Id"]) != UUID(second.headers["X-Request-Id"])


@pytest.mark.parametrize("value", ["\udcff", 10**30, {1: b"\xff"}, object(), "中\n文"])
def test_a_value_that_json_does_not_have_keeps_no_line_from_being_written(
    capsys: pytest.CaptureFixture[str], value: object
) -> None:
    with real_logs("json"):
        structlog.get_logger().warning("happened", value=value)
    assert json.loads(capsys.readouterr().err)["event"] == "happened"


@both_formats
async def test_one_line_a_request_names_method_path_status_and_part(
    databases: Databases, capsys: pytest.CaptureFixture[str], output: Literal["text", "json"]
) -> None:
    async with logged(databases, output) as toy:
        await toy.get("/notes", headers={"X-Request-Id": "abc_DEF-12345678"})
    [line] = [line for line in capsys.readouterr().err.splitlines() if "abc_DEF-12345678" in line]
    if line.startswith("{"):
        entry = json.loads(line)
        assert {entry["method"], entry["path"], entry["status"], entry["part"]} == {"GET", "/api/v1/notes", 200, "toy"}


async def test_who_watches_the_process_fills_no_log_unless_something_is_wrong(
    databases: Databases, capsys: pytest.CaptureFixture[str]
) -> None:
    async with logged(databases, "text") as toy:
        assert (await toy.client.get("/healthz")).status_code == 200
        assert (await toy.client.get("/readyz")).status_code == 200
        assert "request" not in capsys.readouterr().err
        toy.app.state.bus.trouble = lambda: "the queue has no consumer"
        assert (await toy.client.get("/healthz")).status_code == 503
        assert "/healthz" in capsys.readouterr().err


async def test_facts_of_requests_that_were_decided_together_carry_each_its_own_id(databases: Databases) -> None:
    async with run_service(SERVICE, databases) as toy:
        people = {f"request-{number:04d}": Person() for number in range(20)}
        for request_id, person in people.items():
            headers = {"X-Request-Id": request_id}
            assert (await toy.post("/notes", person=person, json={"said": "hi"}, headers=headers)).status_code == 201
        facts = await toy.envelopes(PersonRegistered)
        assert {fact.requestid: fact.data.person_id for fact in facts} == {
            request_id: person.id for request_id, person in people.items()
        }
