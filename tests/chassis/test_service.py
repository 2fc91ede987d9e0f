"""A service as a whole: it serves, relays, listens and retries during its life, and stops cleanly."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import httpx
import pytest
from pydantic import ValidationError
from sqlalchemy import Table, text

from chassis import inbox as inbox_module
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
from contracts.members import AreaChanged, PersonChanged, PersonRegistered, RoleRevoked, SignedOut
from tests.chassis.parts import count_of, effects, setting, tell
from tests.chassis.toy import SERVICE
from tests.harness import Databases, Person, run_service


async def eventually(holds: object, within_s: float = 10) -> None:
    end = asyncio.get_running_loop().time() + within_s
    while not await holds():  # type: ignore[operator]
        assert asyncio.get_running_loop().time() < end, "it never holds"
        await asyncio.sleep(0.02)


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
            with pytest.raises(Exception, match="QueuePool") as caught:
                async with small.transaction() as second:
                    await second.execute(text("SELECT 1"))
            assert is_down(caught.value)
        await small.close()


async def test_in_its_lifespan_a_service_relays_listens_and_retries(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox_module, "RETRY_POLL_S", 0.05)
    monkeypatch.setattr(inbox_module, "RETRY_PAUSE_S", (0.1,))
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
    expected = {AreaChanged, RoleRevoked, SignedOut, PersonRegistered, PersonChanged}
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
