"""The journeys run on Linli in containers (`--distributed`), at `LINLI_URL`, or on a standalone of their worker."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.journeys.people import Actor, operator, sign_in
from tests.journeys.standalone import Standalone


@pytest.fixture(scope="session")
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the Linli under test answers."""
    with linli(request, tmp_path_factory.mktemp("journeys"), {"LINLI_OTP_ADDRESS_LIMIT": "10000/hour"}) as found:
        yield found


@contextmanager
def linli(request: pytest.FixtureRequest, folder: Path, settings: Mapping[str, str]) -> Iterator[str]:
    """Where a Linli answers; `settings` and `folder` are for the standalone."""
    if request.config.getoption("--distributed"):
        yield request.getfixturevalue("stack").url
        return
    given = os.environ.get("LINLI_URL")
    if given:
        yield given.rstrip("/")
        return
    standalone = Standalone(folder / "data", settings)
    try:
        yield standalone.wait_ready()
    finally:
        standalone.stop()


@pytest.fixture(scope="module")
def staff(url: str) -> Iterator[Actor]:
    """The operator; signed in anew for every module, since a token lasts five minutes."""
    with operator(url) as actor:
        yield actor


@pytest.fixture
def person(url: str) -> Iterator[Actor]:
    """Somebody new."""
    with sign_in(url) as actor:
        yield actor


@pytest.fixture(scope="module")
def area(staff: Actor) -> str:
    """Id of a community of this module."""
    city = staff.post("/areas", {"level": "city", "name": "绵阳市", "name_en": "Mianyang"})
    community = {"parent_id": city["id"], "level": "community", "name": "玉林北路社区", "name_en": "Yulin North"}
    return str(staff.post("/areas", community)["id"])
