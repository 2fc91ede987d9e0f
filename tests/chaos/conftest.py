"""One Linli in containers for all faults, one after another; what became of each goes into `results.json`.

SEED repeats a run: the order of the faults, their moments, and who does what. ONLY=word,… picks faults by name.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.chaos.letters import Letters
from tests.chaos.orders import Neighbourhood
from tests.chaos.reckoning import Fault
from tests.chaos.stack import FailingStack
from tests.conftest import installation

RESULTS = Path(__file__).parent / "results.json"
SEED = int(os.environ.get("SEED") or random.SystemRandom().randrange(10**6))


class Results:
    """The record of the run so far, on disk after every fault."""

    def __init__(self, config: pytest.Config) -> None:
        self._terminal = config.get_terminal_writer()
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        self._faults.append(fault)
        self._terminal.line(f"\n{json.dumps(fault.line(), ensure_ascii=False)}")
        record = {"seed": SEED, "faults": [one.line() for one in self._faults]}
        RESULTS.write_text(json.dumps(record, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def pytest_report_header() -> str:
    return f"seed: {SEED}"


@pytest.fixture(scope="session")
def rng() -> random.Random:
    return random.Random(SEED)


@pytest.fixture(scope="session")
def results(request: pytest.FixtureRequest) -> Results:
    return Results(request.config)


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FailingStack]:
    """A Linli whose services can be told where to die."""
    with installation(request.config, tmp_path_factory.mktemp("chaos")) as made:
        made.arm()
        made.up()
        yield made


@pytest.fixture(scope="session")
def letters(stack: FailingStack) -> Iterator[Letters]:
    with closing(Letters(stack)) as found:
        yield found


@pytest.fixture(scope="session")
def neighbourhood(stack: FailingStack) -> Iterator[Neighbourhood]:
    with closing(Neighbourhood(stack.url)) as found:
        yield found
