"""One database server for the run, and a fresh database for every test that asks for one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from chassis import embedded_postgres
from chassis.telemetry import configure_logging
from tests.harness import Databases


@pytest.fixture(autouse=True, scope="session")
def _plain_logs() -> None:
    """Logs as the product writes them: the library's default renders local variables into tracebacks, in seconds."""
    configure_logging("text")


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server to make databases on: `DATABASE_URL`, else an embedded one for this worker."""
    given = os.environ.get("DATABASE_URL")
    if given:
        yield given.replace("postgresql://", "postgresql+asyncpg://", 1)
        return
    folder: Path = tmp_path_factory.mktemp("postgres")
    server = embedded_postgres.start(folder / "data", durable=False)
    try:
        yield server.url()
    finally:
        server.stop()


@pytest.fixture(scope="session")
def databases(server_url: str) -> Iterator[Databases]:
    """Databases of this run; each service's is migrated once and copied for each test."""
    made = Databases(server_url)
    yield made
    if "DATABASE_URL" in os.environ:  # the embedded server goes with all that is on it
        made.drop_all()
