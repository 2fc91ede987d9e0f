"""A connection to the broker that comes back by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import aio_pika
import structlog
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import AMQPError, ChannelNotFoundEntity

from chassis.background import wait_at_most

HEARTBEAT_S = 10
# For connecting and for everything that the broker answers.
BROKER_TIMEOUT_S = 5.0
RECONNECT_S = 1.0
# For so long a connection may be of no use while the broker is there before only a new start is thought to help.
TROUBLE_AFTER_S = 30.0

log = structlog.get_logger(__name__)


class NotDeclared(ConnectionError):
    """The broker is there, the topology is not, or not yet."""


class Link:
    """A connection that comes back by itself, and whether it serves."""

    def __init__(self, url: str, name: str) -> None:
        self._url = url
        self._name = name
        self._failing_since: float | None = None
        self.cause = ""

    async def keep(self, use: Callable[[AbstractConnection], Awaitable[None]], stopping: asyncio.Event) -> None:
        """Connect, use the connection for as long as it lasts, and again, until told to stop."""
        while not stopping.is_set():
            try:
                connection = await aio_pika.connect(
                    self._url,
                    timeout=BROKER_TIMEOUT_S,
                    heartbeat=HEARTBEAT_S,
                    client_properties={"connection_name": self._name},
                )
            except Exception as error:
                # An answer of the broker's is its trouble with us; silence is an outage, of which we are not the cause.
                self._failed(error, reached=isinstance(error, AMQPError) and not isinstance(error, OSError))
            else:
                try:
                    await use(connection)
                except Exception as error:
                    self._failed(error, reached=True)
                finally:
                    await _close(connection)
            await wait_at_most(stopping, RECONNECT_S)

    def serves(self) -> None:
        """From now on the connection does what it is for."""
        if self._failing_since is not None or self.cause:
            log.info("bus_connected", link=self._name)
        self._failing_since, self.cause = None, ""

    def trouble(self) -> str | None:
        """Why the connection has long been of no use although the broker is there."""
        if self._failing_since is None or time.monotonic() - self._failing_since < TROUBLE_AFTER_S:
            return None
        return f"{self._name}: {self.cause}"

    def _failed(self, error: Exception, *, reached: bool) -> None:
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        cause = repr(error)
        if cause != self.cause:
            log.warning("bus_interrupted", link=self._name, cause=cause)
        self.cause = cause
        if not reached:
            self._failing_since = None
        elif self._failing_since is None:
            self._failing_since = time.monotonic()


@asynccontextmanager
async def declared() -> AsyncIterator[None]:
    """Within the block, what the broker does not know is a topology that was not declared: NotDeclared."""
    try:
        yield
    except ChannelNotFoundEntity as error:
        raise NotDeclared(f"the topology is not declared: {error}") from error


async def _close(connection: AbstractConnection) -> None:
    with suppress(Exception):
        async with asyncio.timeout(BROKER_TIMEOUT_S):
            await connection.close()
