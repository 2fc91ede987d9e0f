"""The RabbitMQ for tests: the one at `AMQP_URL`, else one in Docker, else the one of this machine."""

from __future__ import annotations

import asyncio
import os
import secrets
import time

import aio_pika
from aio_pika.exceptions import AMQPError

from chassis.settings import SERVICE_NAMES
from chassis.topology import Topology
from tests import run

IMAGE = "rabbitmq:4-management"
LOCAL = "amqp://guest:guest@127.0.0.1:5672/"
READY_TIMEOUT_S = 60


class NoBroker(Exception):
    """There is no RabbitMQ here; the message says what was tried."""


def find_broker() -> str:
    """URL of the broker of this run."""
    given = os.environ.get("AMQP_URL")
    if given:
        return given
    from tests.containers import NoDocker  # slow to import

    try:
        return run.once("broker", start_broker)
    except NoDocker as no_docker:
        if asyncio.run(answers(LOCAL)):
            return LOCAL
        raise NoBroker(
            f"AMQP_URL is not set, Docker runs no {IMAGE} ({no_docker}), and no broker at {LOCAL} answers"
        ) from None


def start_broker() -> str:
    """URL of a new broker in Docker, once it answers."""
    from tests.containers import start

    password = secrets.token_urlsafe(12)
    environment = {"RABBITMQ_DEFAULT_USER": "linli", "RABBITMQ_DEFAULT_PASS": password}
    url = f"amqp://linli:{password}@{start(IMAGE, 5672, environment)}/"
    asyncio.run(wait_until_ready(url))
    return url


async def wait_until_ready(url: str) -> None:
    end = time.monotonic() + READY_TIMEOUT_S
    while not await answers(url):
        assert time.monotonic() < end, f"the broker in Docker does not answer in {READY_TIMEOUT_S} s"
        await asyncio.sleep(0.2)


async def answers(url: str) -> bool:
    """Whether a broker is there and takes user and password."""
    try:
        connection = await aio_pika.connect(url, timeout=2)
    except (AMQPError, OSError):
        return False
    await connection.close()
    return True


async def remove_everything(url: str, prefix: str) -> None:
    """Delete every exchange and queue that the services' topology has under this prefix."""
    topology = Topology(dict.fromkeys(SERVICE_NAMES, frozenset()), prefix=prefix)
    connection = await aio_pika.connect(url)
    async with connection, connection.channel() as channel:
        await topology.delete(channel)
