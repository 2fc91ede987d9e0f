"""A service as a whole: it serves, relays, listens and retries during its life, and stops cleanly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from uuid import uuid4

import httpx
import pytest
from pydantic import ValidationError
from sqlalchemy import Integer, Table, literal_column, select, text
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from chassis import inbox as inbox_module
from chassis import parked as parked_module
from chassis import service as service_module
from chassis.background import every, running
from chassis.bus import InProcessBus
from chassis.db import Database, is_down
from chassis.errors import Unavailable
from chassis.outbox import emit
from chassis.service import build_app, build_runtime
from chassis.settings import Settings
from chassis.tables import outbox, parked, scopes
from chassis.tokens import Signer, generate_key
from chassis.world import World
from contracts.members import AreaChanged, PersonChanged, PersonErased, PersonRegistered, RoleRevoked, SignedOut
from tests.chassis.buses import eventually
from tests.chassis.parts import count_of, effects, must_fail, setting, tell
from tests.chassis.toy import SERVICE
from tests.harness import Databases, Person, run_service


async def test_health_and_readiness(databases: Databases) -> None:
    async with run_service(SERVICE, databases) as toy:
        assert (await toy.client.get("/healthz")).json() == {"status": "alive"}
        assert (await toy.client.get("/readyz")).json() == {"status": "ready"}


async def test_without_its_database_a_service_is_alive_not_ready_and_says_so(databases: Databases) -> None:
    nowhere = "postgresql+asyncpg://nobody:x@127.0.0.1:9/nowhere"
    async with run_service(SERVICE, databases, database_url=nowhere) as toy:
        assert (await toy.client.get("/healthz")).status_code == 200
        for answer in (
            await toy.client.get("/readyz"),
            await toy.get("/notes"),
            await toy.post("/notes", person=Person(), json={"said": "hi"}),
        ):
            assert (answer.status_code, answer.json()["type"]) == (503, "urn:linli:problem:unavailable")
            assert answer.headers["Retry-After"] == "5"


async def test_a_database_that_takes_a_connection_and_says_nothing_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chassis.db.CONNECT_TIMEOUT_S", 0.2)

    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(5)
        writer.close()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        db = Database(f"postgresql+asyncpg://nobody:x@127.0.0.1:{port}/nowhere", World())
        async with asyncio.timeout(3):
            with pytest.raises(Exception) as caught:  # noqa: PT011 - of what kind, is_down says
                async with db.transaction() as session:
                    await session.execute(text("SELECT 1"))
        assert is_down(caught.value)
        await db.close()


class AwayAtFirst:
    """What reads the cutoffs of a database that does not answer before its third time."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.asked = 0

    async def __call__(self) -> None:
        self.asked += 1
        if self.asked < 3:
            raise self.error


@pytest.mark.parametrize(
    ("error", "patience_s", "asked"),
    [(ConnectionRefusedError(), 30, 3), (ConnectionRefusedError(), 0, 1), (PermissionError("password"), 30, 1)],
    ids=["away", "away for too long", "refused"],
)
async def test_a_service_that_starts_waits_for_a_database_that_is_away_and_for_no_other(
    databases: Databases, monkeypatch: pytest.MonkeyPatch, error: Exception, patience_s: float, asked: int
) -> None:
    monkeypatch.setattr(service_module, "DATABASE_RETRY_S", 0.01)
    monkeypatch.setattr(service_module, "is_down", lambda found: isinstance(found, ConnectionRefusedError))
    settings = Settings(environment="development", database_wait_s=patience_s)
    async with run_service(SERVICE, databases, settings=settings) as toy:
        reading = AwayAtFirst(error)
        monkeypatch.setattr(toy.runtime.cutoffs, "refresh", reading)
        with nullcontext() if asked == 3 else pytest.raises(type(error)):
            async with toy.app.router.lifespan_context(toy.app):
                pass
        # Once it is there, it is asked at intervals.
        assert reading.asked == asked or reading.asked > asked == 3


async def test_when_connections_are_cut_the_service_recovers_by_itself(databases: Databases) -> None:
    async with run_service(SERVICE, databases) as toy, setting(databases) as stage:
        await asyncio.gather(*(toy.get("/notes") for _ in range(8)))
        other = await stage.database(toy.db.url)
        async with other.transaction() as session:
            query = (
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid() AND usename = current_user"
            )
            await session.execute(text(query))
        statuses = [(await toy.get("/notes")).status_code for _ in range(10)]
        assert statuses.count(200) >= 9
        assert set(statuses) <= {200, 503}


async def test_a_full_pool_is_unavailable_and_not_a_defect(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chassis.db.POOL_TIMEOUT_S", 0.1)
    async with setting(databases) as stage:
        url = (await stage.database()).url
        small = Database(url, stage.world, pool_size=1)
        async with small.transaction() as session:
            await session.execute(text("SELECT 1"))
            with pytest.raises(PoolTimeoutError) as caught:
                async with small.transaction() as second:
                    await second.execute(text("SELECT 1"))
            assert is_down(caught.value)
        await small.close()


ONE = select(literal_column("1", Integer))


class FirstToAsk(Database):
    """The control's database: the pool alone says whose turn it is."""

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        yield


async def who_waits_has_the_next_turn(databases: Databases, kind: type[Database] = Database) -> None:
    async with setting(databases) as stage:
        small = kind((await stage.database()).url, stage.world, pool_size=1)
        done: list[str] = []

        async def come_again_and_again(name: str) -> None:
            for _ in range(20):
                await small.read(ONE)
                done.append(name)

        async def come_once() -> None:
            await small.read(ONE)
            done.append("once")

        # More than there are connections, the relay's among them.
        busy = [asyncio.create_task(come_again_and_again(f"busy {number}")) for number in range(3)]
        await asyncio.sleep(0.001)
        await come_once()
        position = done.index("once")
        await asyncio.gather(*busy)
        await small.close()
        assert position <= len(busy) + 1


async def test_who_waits_for_a_connection_has_the_next_turn(databases: Databases) -> None:
    await who_waits_has_the_next_turn(databases)


async def test_the_control_lets_some_wait_while_others_come_again(databases: Databases) -> None:
    await must_fail(who_waits_has_the_next_turn, databases, kind=FirstToAsk)


async def test_in_its_lifespan_a_service_relays_listens_and_retries(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox_module, "RETRY_POLL_S", 0.05)
    monkeypatch.setattr(parked_module, "RETRY_PAUSE_S", (0.1,))
    bus, signer = InProcessBus(), Signer(generate_key())

    def serve(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=signer.public_keys())

    async with httpx.AsyncClient(transport=httpx.MockTransport(serve), base_url="http://members") as members:
        url = await databases.fresh(SERVICE)
        runtime = build_runtime(Settings(environment="development"), World(), url, members)
        app = build_app(SERVICE, runtime, bus)
        async with app.router.lifespan_context(app):
            person = uuid4()
            async with runtime.db.transaction() as session:
                emit(session, PersonChanged(person_id=person, locale="en"), sequence=1)
            await eventually(lambda: _count(runtime.db, parked, 1))
            told = await tell(runtime.db, 3)
            async with runtime.db.transaction() as session:
                emit(session, _area(), sequence=1)
                emit(session, PersonRegistered(person_id=person, locale="en"), sequence=2)
            await eventually(lambda: _count(runtime.db, outbox, 0))
            assert set(await effects(runtime.db)) >= told
            # The later event of the same person waits behind the failed one; after that one's attempts the way is free.
            await eventually(lambda: _has(runtime.db, 4))
            assert await count_of(runtime.db, scopes) == 1
        names = {task.get_name() for task in asyncio.all_tasks()}
        assert "group-commit" not in names


def _area() -> AreaChanged:
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


async def _count(db: Database, table: Table, expected: int) -> bool:
    return await count_of(db, table) == expected


async def _has(db: Database, expected: int) -> bool:
    return (await effects(db)).total() == expected


def test_every_service_listens_to_areas_and_cut_offs() -> None:
    expected = {AreaChanged, RoleRevoked, SignedOut, PersonErased, PersonRegistered, PersonChanged}
    assert SERVICE.subscriptions() == expected


async def test_work_that_fails_once_is_done_again_at_the_next_turn() -> None:
    turns = 0

    async def work() -> None:
        nonlocal turns
        turns += 1
        if turns == 1:
            raise ArithmeticError

    async with running(every(0.01, work)):
        await asyncio.sleep(0.1)
    seen = turns
    await asyncio.sleep(0.03)
    assert turns == seen >= 2, "and ends with its block"


def test_development_mode_listens_on_loopback_only() -> None:
    Settings(environment="production", host="0.0.0.0")  # noqa: S104
    Settings(environment="development", host="127.0.0.1")
    for host in ("0.0.0.0", "::", "10.0.0.1", ""):  # noqa: S104
        with pytest.raises(ValidationError, match="loopback"):
            Settings(environment="development", host=host)


def test_unavailable_says_when_to_try_again() -> None:
    assert Unavailable().headers() == {"Retry-After": "5"}
