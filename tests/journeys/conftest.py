"""The journeys run against `LINLI_URL`, else against a standalone Linli of their worker."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.journeys.people import Actor, operator, sign_in
from tests.journeys.standalone import Standalone


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the stack under test answers."""
    given = os.environ.get("LINLI_URL")
    if given:
        yield given.rstrip("/")
        return
    stack = Standalone(tmp_path_factory.mktemp("journeys") / "data", {"LINLI_OTP_ADDRESS_LIMIT": "10000/hour"})
    try:
        yield stack.wait_ready()
    finally:
        stack.stop()


@pytest.fixture(scope="session")
def staff(url: str) -> Iterator[Actor]:
    """The operator."""
    with operator(url) as actor:
        yield actor


@pytest.fixture
def person(url: str) -> Iterator[Actor]:
    """Somebody new."""
    with sign_in(url) as actor:
        yield actor


@pytest.fixture(scope="session")
def area(staff: Actor) -> str:
    """Id of a community of this run."""
    city = staff.post("/areas", {"level": "city", "name": "成都市", "name_en": "Chengdu"})
    community = {"parent_id": city["id"], "level": "community", "name": "玉林北路社区", "name_en": "Yulin North"}
    return str(staff.post("/areas", community)["id"])
