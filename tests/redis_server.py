"""The Redis for tests: the one at `REDIS_URL`, else one in Docker."""

from __future__ import annotations

import os
import time

import redis

from tests import run

IMAGE = "redis:8"
READY_TIMEOUT_S = 60


class NoRedis(Exception):
    """There is no Redis here; the message says what was tried."""


def find_redis() -> str:
    """URL of the Redis of this run."""
    given = os.environ.get("REDIS_URL")
    if given:
        return given
    from tests.containers import NoDocker  # slow to import

    try:
        return run.once("redis", start_redis)
    except NoDocker as no_docker:
        raise NoRedis(f"REDIS_URL is not set, and Docker runs no {IMAGE} ({no_docker})") from None


def start_redis() -> str:
    """URL of a new Redis in Docker, once it answers."""
    from tests.containers import start

    url = f"redis://{start(IMAGE, 6379, {})}"
    end = time.monotonic() + READY_TIMEOUT_S
    with redis.Redis.from_url(url) as client:
        while True:
            try:
                client.ping()
                return url
            except redis.RedisError:
                assert time.monotonic() < end, f"the Redis in Docker does not answer in {READY_TIMEOUT_S} s"
                time.sleep(0.1)
