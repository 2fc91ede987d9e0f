"""Twenty restarts of orders, then twenty of gateways behind the edge, under 200 requests a second: none fails.

It has an installation of its own, and needs none of what the faults are made with.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator

import pytest

from tests.distributed.edges import COPIES, edge, load
from tests.journeys.compose import ComposeStack

RESTARTS = 20

pytestmark = pytest.mark.skipif("ONLY" in os.environ, reason="ONLY picks faults")


@pytest.fixture(scope="module")
def linli(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComposeStack]:
    with edge(request.config, tmp_path_factory.mktemp("rolling")) as made:
        yield made


@pytest.mark.parametrize("part", ["orders", "gateway"])
async def test_restarts_one_copy_after_another_fail_no_request(
    linli: ComposeStack, part: str, record_property: Callable[[str, object], None]
) -> None:
    async with load(linli, members=40, products=100) as steady:
        for _ in range(RESTARTS // COPIES[part]):
            done = await asyncio.to_thread(linli.make, "restart", f"PART={part}")
            assert done.returncode == 0, done.stderr
        await steady.until_answered(1_000)
    record_property("load", str(steady))
    assert steady.failures == [], steady
    assert min(steady.answered.values()) > 1_000
