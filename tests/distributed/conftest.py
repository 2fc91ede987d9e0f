"""What only Linli as many processes has. These tests run with `--distributed`, and need Docker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.distributed.broker_api import BrokerApi
from tests.journeys.compose import ComposeStack
from tests.journeys.conftest import area, person, staff

__all__ = ["area", "person", "staff"]


def pytest_configure(config: pytest.Config) -> None:
    if not config.getoption("--distributed"):
        raise pytest.UsageError("tests/distributed needs Linli in Docker: make test-distributed")


@pytest.fixture(scope="session")
def url(stack: ComposeStack) -> str:
    """Where the shared Linli answers."""
    return stack.url


@pytest.fixture(scope="session")
def broker_api(stack: ComposeStack) -> Iterator[BrokerApi]:
    """What the shared Linli's broker holds."""
    with closing(BrokerApi(stack)) as api:
        yield api
