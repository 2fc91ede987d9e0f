"""One service as a process of its own: how it starts, what it stands without, how it ends, and two of it."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from chassis import entry
from chassis.bus import InProcessBus, Letter
from chassis.db import Database
from chassis.outbox import RELAY_LOCK, emit
from chassis.process import main, serve
from chassis.rabbit import RabbitBus
from chassis.server import Server
from chassis.service import Service, build_app
from chassis.settings import BadSetting, Settings
from chassis.tables import scopes
from chassis.tokens import generate_key
from chassis.topology import declare, topology_of
from chassis.world import World
from contracts.event import Envelope
from contracts.members import AreaChanged
from contracts.points import PointsAwarded
from deploy.services import SERVICES
from services.members.app import SERVICE as MEMBERS
from services.members.keys import generate_keys
from services.notify.app import SERVICE as NOTIFY
from services.points.app import SERVICE as POINTS
from tests.chassis.buses import eventually, waiting_in
from tests.chassis.parts import count_of, emptied
from tests.chassis.processes import Child, started
from tests.chassis.toy import SERVICE as TOY
from tests.harness import Databases, run_service

NOWHERE = "127.0.0.1:9"
WORD = "geheim"
BROKER_AWAY = {"LINLI_AMQP_URL": f"amqp://linli:{WORD}@{NOWHERE}/"}
DATABASE_AWAY = {"LINLI_DATABASE_URL": f"postgresql+asyncpg://linli:{WORD}@{NOWHERE}/linli"}
KEYS = {
    "members": {f"LINLI_{name.upper()}": key for name, key in generate_keys().items()},
    "notify": {"LINLI_LOOKUP_KEY": generate_key()},
}


@asynccontextmanager
async def running(name: str, environment: Mapping[str, str]) -> AsyncIterator[Child]:
    everyday = {"LINLI_PORT": "0", "LINLI_SERVICE_URLS": f'{{"members": "http://{NOWHERE}"}}', **KEYS.get(name, {})}
    async with started("-m", f"services.{name}", environment={**everyday, **environment}) as child:
        yield child


async def test_each_service_serves_without_broker_and_without_members_and_ends_by_a_signal(
    databases: Databases, tmp_path: Path
) -> None:
    """Its database is named by a file, as containers are told their secrets."""
    async with AsyncExitStack() as stack, httpx.AsyncClient() as client:
        children = []
        for service in SERVICES:
            folder = tmp_path / service.name
            folder.mkdir()
            (folder / "linli_database_url").write_text(f"{await databases.fresh(service)}\n", encoding="utf-8")
            environment = {"LINLI_SECRETS_DIR": str(folder), **BROKER_AWAY}
            children.append(await stack.enter_async_context(running(service.name, environment)))
        for child in children:
            url = await child.ready()
            assert (await client.get(f"{url}/healthz")).json() == {"status": "alive"}
            assert (await client.get(f"{url}/readyz")).json() == {"status": "ready"}
            child.signal(signal.SIGTERM)
        for child in children:
            assert await child.ends() == 0
            assert child.output[-1] == "linli: stopped"
            assert "Traceback" not in str(child.output)


async def test_without_its_database_it_ends_with_a_line_that_tells_no_secret() -> None:
    async with running("points", {**DATABASE_AWAY, **BROKER_AWAY, "LINLI_DATABASE_WAIT_S": "0"}) as child:
        assert await child.ends() == 3
        cause, last = child.output
    assert cause.startswith("linli: the database does not serve: ConnectionRefusedError: ")
    assert last == "linli: could not start"
    assert WORD not in cause


def test_with_a_setting_missing_it_ends_with_another_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(entry, "configure_logging", lambda _: None)  # that of the tests' own process
    monkeypatch.setenv("LINLI_DATABASE_URL", "")
    assert main(POINTS) == 2
    assert capsys.readouterr().out == "linli: cannot start: LINLI_DATABASE_URL is not set\n"


@pytest.mark.parametrize(
    ("service", "settings", "told"),
    [
        (POINTS, {"amqp_url": None}, "LINLI_AMQP_URL is not set"),
        (NOTIFY, {}, "LINLI_LOOKUP_KEY is not set"),
        (POINTS, {"lookup_key": WORD}, "LINLI_LOOKUP_KEY is not an ES256 private key"),
        (MEMBERS, {"contact_key": WORD}, "LINLI_CONTACT_KEY is not base64"),
    ],
    ids=lambda given: getattr(given, "name", None),
)
async def test_a_setting_that_one_service_cannot_do_without_is_named(
    databases: Databases, monkeypatch: pytest.MonkeyPatch, service: Service, settings: dict[str, str], told: str
) -> None:
    monkeypatch.setattr(Server, "capture_signals", nullcontext)  # those of the tests' own process
    given = {"database_url": await databases.fresh(service), "amqp_url": f"amqp://{NOWHERE}/", **settings}
    with pytest.raises(BadSetting, match=told) as caught:
        await serve(service, Settings.read(given))
    assert WORD not in str(caught.value)


class StuckBus(InProcessBus):
    def trouble(self) -> str | None:
        return "queue toy has no consumer here"


async def test_it_is_not_alive_while_its_bus_is_in_trouble_and_the_log_says_why(databases: Databases) -> None:
    async with run_service(TOY, databases) as toy:
        app = build_app(TOY, toy.runtime, StuckBus())
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://toy") as client:
            with capture_logs() as log:
                answer = await client.get("/healthz")
            assert (answer.status_code, answer.json()["type"]) == (503, "urn:linli:problem:unavailable")
            assert ("not_alive", "queue toy has no consumer here") in [(row["event"], row.get("cause")) for row in log]
            assert (await client.get("/readyz")).status_code == 200, "whoever routes to it still may"
        assert (await toy.client.get("/healthz")).status_code == 200


# `python -m services.points`, under names of its own on a broker that others use too.
PREFIXED_POINTS = """
import sys
from functools import partial
from chassis import process
from services.points.app import SERVICE
process.RabbitBus = partial(process.RabbitBus, prefix=sys.argv[1])
sys.exit(process.main(SERVICE))
"""


async def holders_of_the_relay(db: Database) -> list[int]:
    """Which connections to the database are its elected relays."""
    query = (
        "SELECT pid FROM pg_locks JOIN pg_database d ON d.oid = database "
        "WHERE locktype = 'advisory' AND objid = :lock AND granted AND datname = current_database()"
    )
    async with db.transaction() as session:
        return list((await session.scalars(text(query), {"lock": RELAY_LOCK})).all())


async def tell(db: Database, count: int) -> None:
    async with db.transaction() as session:
        for _ in range(count):
            fact = PointsAwarded(
                transfer_id=uuid4(),
                subject_type="person",
                subject_id=uuid4(),
                asset="energy",
                amount=1,
                rule="test",
                rule_version=1,
                title="test",
            )
            emit(session, fact, sequence=1)


async def test_of_two_processes_one_sends_and_when_it_stops_the_other_does(
    databases: Databases, amqp_url: str, amqp_prefix: str
) -> None:
    await declare(amqp_url, topology_of([POINTS], prefix=amqp_prefix))
    db = Database(await databases.fresh(POINTS), World())
    environment = {"LINLI_DATABASE_URL": db.url, "LINLI_AMQP_URL": amqp_url, "LINLI_PORT": "0"}

    async def one_is_elected() -> bool:
        return len(await holders_of_the_relay(db)) == 1

    async def sent(count: int) -> bool:
        return await waiting_in(amqp_url, f"{amqp_prefix}unheard") == count

    async with AsyncExitStack() as stack:
        stack.push_async_callback(db.close)

        async def start() -> Child:
            child = await stack.enter_async_context(
                started("-c", PREFIXED_POINTS, amqp_prefix, environment=environment)
            )
            await child.ready()
            return child

        first = await start()
        await eventually(one_is_elected)
        elected = await holders_of_the_relay(db)
        second = await start()
        await tell(db, 5)
        await eventually(lambda: sent(5))
        assert await holders_of_the_relay(db) == elected
        first.signal()
        assert await first.ends() == 0
        await tell(db, 5)
        await eventually(lambda: sent(10))
        await eventually(lambda: emptied(db))
        assert await holders_of_the_relay(db) != elected
        area = Letter(uuid4(), AreaChanged.routing_key(), Envelope(uuid4(), an_area(), 1, World().now()).to_json())
        bus = RabbitBus(amqp_url, "test", prefix=amqp_prefix)
        async with bus.running():
            assert await bus.publish([area]) == [None]
            await eventually(lambda: heard(db))
        second.signal()
        assert await second.ends() == 0
        assert await sent(10), "and nothing twice"


async def heard(db: Database) -> bool:
    return await count_of(db, scopes) == 1


def an_area() -> AreaChanged:
    area_id = uuid4()
    return AreaChanged(
        area_id=area_id,
        parent_id=None,
        path=[area_id],
        level="community",
        name="玉林",
        name_en=None,
        timezone="Asia/Shanghai",
        active=True,
    )
