"""A database that says nothing is found out, soon and by whoever waits for it; one that is slow is left alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import httpx
import pytest
from sqlalchemy import text

from chassis.pulse import Pulse
from chassis.service import build_app
from tests.chassis.buses import eventually
from tests.chassis.parts import must_fail
from tests.chassis.toy import SERVICE
from tests.harness import Databases, RecordingBus, ServiceUnderTest, run_service
from tests.proxy import Proxy, proxy_to_database

# Far below the time-out of a statement, far above two beats.
SOON_S = 10.0


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chassis.pulse.BEAT_EVERY_S", 0.2)
    monkeypatch.setattr("chassis.pulse.ANSWER_WITHIN_S", 0.7)


class Still(Pulse):
    """The control's pulse: it does not beat."""

    async def run(self) -> None:
        await asyncio.Event().wait()


@asynccontextmanager
async def serving(databases: Databases, pulse: type[Pulse] = Pulse) -> AsyncIterator[tuple[ServiceUnderTest, Proxy]]:
    """A service in its lifespan, with a proxy before its database."""
    async with (
        proxy_to_database(await databases.fresh(SERVICE)) as (proxy, url),
        run_service(SERVICE, databases, database_url=url) as toy,
    ):
        toy.db.pulse = pulse(toy.db.engine, toy.db.world)
        app = build_app(SERVICE, toy.runtime, RecordingBus())
        async with app.router.lifespan_context(app):
            yield toy, proxy


async def statuses(toy: ServiceUnderTest, count: int = 1) -> Sequence[int]:
    answers: list[httpx.Response] = await asyncio.gather(*(toy.get("/notes") for _ in range(count)))
    return [answer.status_code for answer in answers]


async def tell_that_it_is_silent(databases: Databases, pulse: type[Pulse] = Pulse) -> None:
    async with serving(databases, pulse) as (toy, proxy):
        assert await statuses(toy, 4) == [200] * 4  # four connections that are open already
        proxy.silence()
        try:
            began = time.monotonic()
            asking = asyncio.create_task(statuses(toy, 4))
            done, _ = await asyncio.wait([asking], timeout=SOON_S)
            assert done, "they still wait"
            assert await asking == [503] * 4
            # From now on at once: who comes next does not wait for the same silence.
            assert await statuses(toy, 20) == [503] * 20
            assert (await toy.client.get("/readyz")).status_code == 503
            assert time.monotonic() - began < SOON_S
        finally:
            proxy.forget()
            proxy.heal()
        # On new connections: on the old ones nobody would hear it.
        await eventually(lambda: is_back(toy), within_s=15)
        assert await statuses(toy, 8) == [200] * 8


async def is_back(toy: ServiceUnderTest) -> bool:
    return await statuses(toy) == [200]


async def test_who_waits_for_a_silent_database_hears_so_and_once_it_is_heard_again_all_goes_on(
    databases: Databases,
) -> None:
    await tell_that_it_is_silent(databases)


async def test_control_without_the_pulse_they_wait_on(databases: Databases) -> None:
    await must_fail(tell_that_it_is_silent, databases, Still)


async def test_a_silence_that_passes_breaks_nothing(databases: Databases) -> None:
    async with serving(databases) as (toy, proxy):
        assert await statuses(toy, 4) == [200] * 4
        proxy.silence()
        asking = asyncio.create_task(statuses(toy, 4))
        await asyncio.sleep(0.3)
        proxy.heal()
        assert await asking == [200] * 4


async def test_a_statement_that_takes_long_and_a_slow_network_are_not_silence(databases: Databases) -> None:
    async with serving(databases) as (toy, proxy):
        async with toy.db.transaction() as session:
            await session.execute(text("SELECT pg_sleep(3)"))
        proxy.delay(0.1)
        assert await statuses(toy, 4) == [200] * 4


async def test_connections_of_which_the_server_knows_nothing_any_more_are_not_the_end_of_all(
    databases: Databases,
) -> None:
    async with serving(databases) as (toy, proxy):
        proxy.forget()
        await asyncio.sleep(1.5)
        toy.db.pulse.require()
