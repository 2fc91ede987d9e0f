"""The set-up of an installation: its databases here, the broker among the tests of the distributed Linli."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import URL, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from chassis import embedded_postgres
from deploy.services import SERVICES
from deploy.setup import NotReady, reason, set_up_database, until_ready

SERVICE = next(service for service in SERVICES if service.name == "points")
PASSWORD = "it's: given"


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[URL]:
    """URL of the service's database-to-be, on a server of its own: the set-up changes more than that database."""
    with embedded_postgres.start(tmp_path / "data", durable=False) as server:
        await run(make_url(server.url()), "CREATE ROLE postgres LOGIN SUPERUSER")
        yield make_url(server.url("linli_points", "linli_points_app")).set(password=PASSWORD)


def superuser(own: URL, database: str = "postgres") -> URL:
    return own.set(username="postgres", database=database)


async def run(url: URL, statement: str) -> object:
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as connection:
            done = await connection.execute(text(statement))
            return done.scalar() if done.returns_rows else None
    finally:
        await engine.dispose()


async def may_connect(url: URL) -> bool:
    try:
        return await run(url, "SELECT true") is True
    except DBAPIError as error:
        assert "permission denied for database" in str(error)  # noqa: PT017 - both outcomes are looked at
        return False


def is_verifier_of(password: str, verifier: str) -> bool:
    """As PostgreSQL compares (RFC 5802, RFC 7677)."""
    _, iterations_and_salt, keys = verifier.split("$")
    iterations, salt = iterations_and_salt.split(":")
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), int(iterations))
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    return base64.b64decode(keys.split(":")[0]) == hashlib.sha256(client_key).digest()


async def test_the_service_gets_its_database_with_the_password_it_was_given(own: URL) -> None:
    for _ in range(2):
        await set_up_database(SERVICE, own, "")
        assert await run(own, "SELECT count(*) FROM outbox") == 0
        query = "SELECT rolpassword FROM pg_authid WHERE rolname = '{}'"
        assert is_verifier_of(PASSWORD, str(await run(superuser(own), query.format("linli_points_app"))))
        assert not is_verifier_of(PASSWORD, str(await run(superuser(own), query.format("linli_points_migrator"))))


async def test_the_service_gets_into_its_own_database_only(own: URL) -> None:
    await run(superuser(own), "CREATE ROLE linli_points_app LOGIN")
    assert await may_connect(own.set(database="postgres")), "control: by itself PostgreSQL lets everybody in"
    await set_up_database(SERVICE, own, "")
    assert await may_connect(own)
    assert not await may_connect(own.set(database="postgres"))
    assert not await may_connect(own.set(database="template1"))


async def test_a_database_whose_making_was_interrupted_is_closed_to_others_all_the_same(own: URL) -> None:
    await set_up_database(SERVICE, own, "")
    await run(superuser(own), "GRANT ALL ON DATABASE linli_points TO PUBLIC")
    await run(superuser(own), "CREATE ROLE linli_orders_app LOGIN")
    other = own.set(username="linli_orders_app")
    assert await may_connect(other)
    await set_up_database(SERVICE, own, "")
    assert not await may_connect(other)


async def test_what_went_wrong_is_told_without_the_statement_and_its_passwords(own: URL) -> None:
    await set_up_database(SERVICE, own, "")
    with pytest.raises(DBAPIError) as refused:
        await run(own, f"ALTER ROLE postgres PASSWORD '{'very secret'}'")
    assert "very secret" in str(refused.value), "control: SQLAlchemy tells it"
    assert "permission denied" in reason(refused.value)
    assert "very secret" not in reason(refused.value)


class Starting:
    """Refuses a number of times, then answers."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals

    async def ask(self) -> None:
        self.refusals -= 1
        if self.refusals >= 0:
            raise ConnectionRefusedError("nobody there")


def is_refused(error: Exception) -> bool:
    return isinstance(error, ConnectionRefusedError)


async def test_it_waits_for_what_is_starting() -> None:
    starting = Starting(1)
    await until_ready("the broker", starting.ask, is_refused)
    assert starting.refusals == -1


async def test_it_gives_up_in_the_end_and_says_why() -> None:
    with pytest.raises(NotReady, match=r"the broker was not ready within 0\.1 s: nobody there"):
        await until_ready("the broker", Starting(1000).ask, is_refused, wait_s=0.1)


async def test_it_does_not_wait_for_what_waiting_does_not_mend() -> None:
    starting = Starting(1000)
    with pytest.raises(ConnectionRefusedError):
        await until_ready("the broker", starting.ask, lambda error: False)
    assert starting.refusals == 999
