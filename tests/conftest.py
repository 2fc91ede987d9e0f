"""What tests run on: a database server and a broker for the run, a fresh database for every test that asks for one.

`--distributed` is another run: the journeys, and tests/distributed, on a Linli in containers. So is `--chaos`.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn
from uuid import uuid4

import pytest

from chassis import embedded_postgres
from chassis.telemetry import configure_logging
from tests import run
from tests.broker import NoBroker, find_broker, remove_everything
from tests.chaos.stack import FailingStack
from tests.harness import Databases
from tests.journeys.compose import ComposeStack
from tests.postgres import start_postgres
from tests.redis_server import NoRedis, find_redis

# Collected only where the option of the same name is given.
ASKED_FOR = {Path(__file__).parent / name: f"--{name}" for name in ("distributed", "chaos")}
STACK = pytest.StashKey[ComposeStack]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--postgres", metavar="IMAGE", help="make databases on this image in Docker, such as postgres:17")
    parser.addoption("--distributed", action="store_true", help="run on Linli in Docker, every part by itself")
    parser.addoption("--chaos", action="store_true", help="make Linli fail in every way, and see what becomes of it")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        run.begin()
        config.add_cleanup(run.end)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    option = ASKED_FOR.get(collection_path)
    return True if option and not config.getoption(option) else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """One worker for all tests that share an installation, while another has those with one of their own."""
    if config.getoption("--distributed"):
        for item in items:
            if item.get_closest_marker("xdist_group") is None:
                item.add_marker(pytest.mark.xdist_group("shared"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show with a failure what the containers say."""
    report = yield
    if report.failed and STACK in item.config.stash:
        report.sections.append(("containers", item.config.stash[STACK].report()))
    return report


@pytest.fixture(autouse=True, scope="session")
def _plain_logs() -> None:
    """Logs as the product writes them: the library's default renders local variables into tracebacks, in seconds."""
    configure_logging("text")


@pytest.fixture(scope="session")
def server_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server to make databases on: `--postgres`, else `DATABASE_URL`, else an embedded one for this worker."""
    image, given = request.config.getoption("--postgres"), os.environ.get("DATABASE_URL")
    if image:
        yield run.once("postgres", lambda: start_postgres(image))
        return
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
    if "DATABASE_URL" in os.environ:  # the other servers go with all that is on them
        made.drop_all()


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FailingStack]:
    """The Linli in containers that tests share: they leave it running, one copy of every part."""
    with installation(request.config, tmp_path_factory.mktemp("compose")) as made:
        made.up()
        yield made


@contextmanager
def installation(config: pytest.Config, folder: Path, *, edge: bool = False) -> Iterator[FailingStack]:
    """A Linli in containers, not yet up, which a failure's report is about; in the end nothing of it is left."""
    made = FailingStack(folder, edge=edge)
    before = config.stash.get(STACK, made)
    config.stash[STACK] = made
    try:
        yield made
    finally:
        config.stash[STACK] = before
        made.remove()


@pytest.fixture(scope="session")
def amqp_url() -> str:
    """URL of the run's RabbitMQ; without one a test that needs it is skipped, or fails where nothing may be skipped."""
    try:
        return find_broker()
    except NoBroker as reason:
        without(f"needs RabbitMQ and was not run: {reason}")


@pytest.fixture(scope="session")
def redis_url() -> str:
    """URL of the run's Redis; without one as with RabbitMQ."""
    try:
        return find_redis()
    except NoRedis as reason:
        without(f"needs Redis and was not run: {reason}")


def without(sentence: str) -> NoReturn:
    """Skip the test, or fail it where nothing may be skipped."""
    if os.environ.get("CI") == "true":
        pytest.fail(sentence, pytrace=False)
    pytest.skip(sentence)


@pytest.fixture
async def amqp_prefix(amqp_url: str) -> AsyncIterator[str]:
    """What the names of this test begin with on the broker; they are removed afterwards."""
    prefix = f"t{uuid4().hex[:8]}."
    yield prefix
    await remove_everything(amqp_url, prefix)
