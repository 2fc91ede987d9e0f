"""Snapshots are given only while every relay is held up; where that cannot be, there is no backup, and relays go on."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import make_url, text

from chassis.outbox import SENDING_LOCK
from deploy.backups import moment
from deploy.backups.moment import CannotBackUp, at_one_moment, connect
from tests.chassis.toy import SERVICE
from tests.harness import Databases


@pytest.fixture
async def names(databases: Databases) -> list[str]:
    return [str(make_url(await databases.fresh(SERVICE)).database) for _ in range(2)]


async def relay_may_send(databases: Databases, name: str) -> bool:
    async with connect(databases.server_url, name) as relay:
        return bool(await relay.scalar(text("SELECT pg_try_advisory_lock_shared(:lock)"), {"lock": SENDING_LOCK}))


async def test_relays_are_held_up_until_the_snapshots_are_there(databases: Databases, names: list[str]) -> None:
    async def drained() -> None:
        assert [await relay_may_send(databases, name) for name in names] == [False, False]

    async with at_one_moment(databases.server_url, names, drained) as snapshots:
        assert set(snapshots) == set(names)
        assert [await relay_may_send(databases, name) for name in names] == [True, True]


@pytest.mark.parametrize("ended", [0, 1])
async def test_a_hold_that_ended_too_soon_gives_no_snapshots(
    databases: Databases, names: list[str], ended: int
) -> None:
    async def drained() -> None:
        async with connect(databases.server_url, "postgres") as other:
            sessions = text("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = :name")
            assert list(await other.scalars(sessions, {"name": names[ended]})) == [True]
        assert await relay_may_send(databases, names[ended])

    with pytest.raises(CannotBackUp, match=f"relay of {names[ended]} was not held up until the end"):
        async with at_one_moment(databases.server_url, names, drained):
            pytest.fail("a backup of two moments")


async def test_a_lock_that_is_not_held_any_more_gives_no_snapshots(databases: Databases, names: list[str]) -> None:
    async with connect(databases.server_url, names[0]) as connection:
        with pytest.raises(CannotBackUp, match="not held up until the end"):
            await moment._let_relay_go(connection, names[0])


async def test_what_takes_too_long_gives_no_snapshots_and_relays_go_on(
    databases: Databases, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moment, "MOMENT_WITHIN_S", 0.5)

    async def never() -> None:
        await asyncio.Event().wait()

    with pytest.raises(CannotBackUp, match=r"within 0\.5 s"):
        async with at_one_moment(databases.server_url, names, never):
            pytest.fail("queues that are never empty")
    async with connect(databases.server_url, names[1]) as relay:
        await relay.execute(text("SELECT pg_advisory_lock_shared(:lock)"), {"lock": SENDING_LOCK})
        with pytest.raises(CannotBackUp, match=r"within 0\.5 s"):
            async with at_one_moment(databases.server_url, names, never):
                pytest.fail("a relay that never ends its batch")
    assert [await relay_may_send(databases, name) for name in names] == [True, True]


def test_the_moment_comes_before_the_databases_let_the_relays_go() -> None:
    assert moment.HOLD_WAIT_S < moment.MOMENT_WITHIN_S <= moment.HOLD_MAX_S - 30
