"""Standalone as a process: it keeps its data, stops when told, and a kill loses nothing that was answered."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from tests.journeys.people import Actor, operator, sign_in
from tests.journeys.standalone import Standalone

pytestmark = pytest.mark.skipif(
    "'LINLI_URL' in os.environ or config.getoption('--distributed')", reason="about the standalone process only"
)

Start = Callable[..., Standalone]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts standalone processes; those that a test leaves running are stopped."""
    started: list[Standalone] = []

    def begin(data: Path, environment: Mapping[str, str] | None = None) -> Standalone:
        started.append(Standalone(data, environment))
        return started[-1]

    yield begin
    for stack in started:
        stack.stop()


def postgres_processes(data: Path) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it ended meanwhile
            found.append(path.read_bytes().replace(b"\0", b" ").decode())
    return [command for command in found if str(data) in command and "postgres" in command]


def test_what_was_answered_survives_a_kill_and_its_consequences_follow(tmp_path: Path, start: Start) -> None:
    data = tmp_path / "data"
    stack = start(data)
    url = stack.wait_ready()
    with operator(url) as staff, sign_in(url) as member:
        area = staff.post("/areas", {"level": "city", "name": "成都市"})["id"]
        member.post("/registrations", {"area_id": area})
        body = {"area_id": area, "kind": "project", "title": "微心愿", "summary": "实现", "claim_capacity": 50}
        product = staff.post("/products", {**body, "publish": True}, 201)
        claim = member.post(f"/products/{product['id']}/claims", {"claimant": {"type": "member", "id": member.id}}, 201)
        staff.post("/attendances", {"claim_id": claim["id"], "action": "check_in"}, 201)
        stack.process.send_signal(signal.SIGKILL)
        stack.process.wait()
        refresh_token, member_id = member.refresh_token, member.id

    again = start(data)
    url = again.wait_ready()
    with operator(url) as staff:
        answer = staff.post("/auth/refresh", {"refresh_token": refresh_token})
        staff.take_tokens(answer)
        assert staff.id == member_id
        assert staff.get(f"/claims/{claim['id']}")["id"] == claim["id"]
        staff.until("/me/points", lambda points: points["balance"] == 10)
    assert again.stop(signal.SIGTERM) == 0
    assert "linli: stopped" in again.output
    assert postgres_processes(data) == []


def test_when_its_database_dies_it_ends_says_so_and_starts_again_with_all_that_was_answered(
    tmp_path: Path, start: Start
) -> None:
    data = tmp_path / "data"
    stack = start(data)
    with operator(stack.wait_ready()) as staff:
        area = staff.post("/areas", {"level": "city", "name": "成都市"})["id"]
    postmaster = (data / "postgres" / "cluster" / "postmaster.pid").read_text(encoding="utf-8").split("\n", 1)[0]
    os.kill(int(postmaster), signal.SIGKILL)
    assert stack.process.wait(30) == 1
    assert any("the database has ended by itself" in line for line in stack.output)
    with operator(start(data).wait_ready()) as staff:
        assert staff.get(f"/areas/{area}")["id"] == area


def test_data_belong_to_one_linli_at_a_time_and_those_of_development_never_to_production(
    tmp_path: Path, start: Start
) -> None:
    first = start(tmp_path / "data")
    first.wait_ready()
    second = start(tmp_path / "data")
    assert second.process.wait(30) == 1
    assert any("another Linli" in line for line in second.output)
    assert first.stop(signal.SIGINT) == 0
    third = start(tmp_path / "data", {"LINLI_ENVIRONMENT": "production"})
    assert third.process.wait(30) == 2
    assert any("not of production mode" in line for line in third.output)


def test_development_mode_listens_on_loopback_only(tmp_path: Path, start: Start) -> None:
    stack = start(tmp_path / "data", {"LINLI_HOST": "0.0.0.0"})  # noqa: S104 - what is to be refused
    assert stack.process.wait(30) == 2
    assert any("loopback" in line for line in stack.output)


def test_production_mode_shows_no_codes(tmp_path: Path, start: Start) -> None:
    stack = start(tmp_path / "data", {"LINLI_ENVIRONMENT": "production"})
    url = stack.wait_ready()
    with Actor(url) as stranger:
        stranger.post("/dev/sms", {"phone": "19900000001"}, 404)
        stranger.post("/auth/token", {"username": "operator", "password": "linli-development"}, 401)
    assert stack.stop() == 0
