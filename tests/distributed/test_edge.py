"""Two gateways behind an edge with TLS: the one door there is, open while what is behind it is restarted."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from tests.distributed.edges import edge, load
from tests.distributed.test_hardening import published
from tests.journeys.compose import ComposeStack

CODES_AN_HOUR = 300

pytestmark = pytest.mark.xdist_group("edge")


@pytest.fixture(scope="module")
def linli(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComposeStack]:
    with edge(request.config, tmp_path_factory.mktemp("edge")) as made:
        yield made


def test_the_edge_is_the_one_door_and_takes_nothing_without_tls(linli: ComposeStack) -> None:
    assert published(linli) == {("edge", "127.0.0.1")}
    answer = httpx.get(linli.url + "/api/v1/products")
    assert answer.status_code == 200
    assert answer.headers["strict-transport-security"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    plain = httpx.get(f"http://127.0.0.1:{urlsplit(linli.url).port}/api/v1/products")
    assert (plain.status_code, plain.json()["type"]) == (400, "urn:linli:problem:bad_request")


def test_what_the_edge_refuses_it_refuses_as_the_gateway_would(linli: ComposeStack) -> None:
    with httpx.Client(base_url=linli.url) as client:
        answers = {
            "too_large": client.post("/api/v1/needs", content=b"x" * 1_000_001),
            "head_too_large": client.get("/api/v1/products", headers={"X-Long": "x" * 9_000}),
        }
        for name, answer in answers.items():
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json() == {"type": f"urn:linli:problem:{name}", "status": answer.status_code}


@pytest.mark.parametrize("part", ["edge", "redis"])
def test_a_container_of_the_edge_may_do_nothing_special(linli: ComposeStack, part: str) -> None:
    [container] = linli.inspect(part)
    status = linli.execute(part, "cat", "/proc/1/status")
    found = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert found["Uid"].split()[0] != "0"
    assert {int(found[name], 16) for name in ("CapEff", "CapPrm", "CapBnd")} == {0}
    assert container["HostConfig"]["ReadonlyRootfs"]


async def codes_asked_for(linli: ComposeStack, asked: int) -> int:
    """How many requests for a sign-in code one address may make, which says that it is another one each time."""
    statuses: Counter[int] = Counter()
    numbers = itertools.count()
    async with httpx.AsyncClient(base_url=linli.url, timeout=30) as client:

        async def ask() -> None:
            while (number := next(numbers)) < asked:
                headers = {"X-Forwarded-For": f"198.51.{number // 250}.{number % 250}"}
                answer = await client.post("/api/v1/auth/otp", json={}, headers=headers)
                statuses[answer.status_code] += 1

        await asyncio.gather(*(ask() for _ in range(8)))
    assert statuses.keys() <= {422, 429}, statuses
    return statuses[422]


async def test_two_gateways_hold_one_limit_with_redis_and_by_address(linli: ComposeStack) -> None:
    assert await codes_asked_for(linli, CODES_AN_HOUR + 100) == CODES_AN_HOUR


async def test_control_without_redis_each_gateway_holds_it_for_itself(linli: ComposeStack) -> None:
    linli.stop("redis")
    try:
        assert await codes_asked_for(linli, 3 * CODES_AN_HOUR) == 2 * CODES_AN_HOUR
    finally:
        linli.start("redis")


async def test_control_a_gateway_that_is_killed_fails_what_may_not_be_sent_again(linli: ComposeStack) -> None:
    async with load(linli, members=4, products=200) as steady:
        victim = linli.containers("gateway")[0]
        await asyncio.to_thread(linli.docker, "pause", victim)  # so that it has requests in hand when it dies
        await asyncio.sleep(1)
        await asyncio.to_thread(linli.docker, "kill", victim)
        await steady.until_answered(200)
    assert steady.failures
    assert all(failure.startswith("claim: AssertionError('503") for failure in steady.failures), steady.failures[:3]
    linli.docker("start", victim)
    linli.until_healthy("gateway")


def test_a_part_that_is_not_there_is_not_restarted(linli: ComposeStack) -> None:
    done = linli.make("restart", "PART=nothing")
    assert done.returncode != 0
