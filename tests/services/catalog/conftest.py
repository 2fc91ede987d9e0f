"""The catalogue under test, on a fresh database each time."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from services.catalog.app import SERVICE
from tests.harness import Databases, ServiceUnderTest, run_service


@pytest.fixture
async def catalog(databases: Databases) -> AsyncIterator[ServiceUnderTest]:
    async with run_service(SERVICE, databases) as running:
        yield running
