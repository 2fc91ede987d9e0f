"""Figures for Prometheus: one page for all parts of a process, on a port of its own.

Requests are counted as they are answered; all else is read when the page is asked for: what parts count by themselves
(`chassis.figures`), and one query to each service's database.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

# Upper bounds in seconds, and whatever takes longer.
BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Sample:
    """One value: of a gauge, or of what only grows (a counter, whose name ends in `_total`). `key` tells several apart,
    as a pair of label and value."""

    name: str
    about: str
    value: float
    kind: Literal["gauge", "counter"] = "gauge"
    key: tuple[str, str] | None = None


# Asked for each page: one part's samples.
Source = Callable[[], Awaitable[Sequence[Sample]]]


class Requests:
    """How many requests each route answered, with which status, and how long they took."""

    def __init__(self) -> None:
        self._took: dict[tuple[str, str, str, int], list[float]] = {}

    def count(self, part: str, method: str, route: str | None, status: int, seconds: float) -> None:
        """One answer. Without a route, methods and paths are whatever strangers think of: they are not told apart."""
        key = (part, method, route, status) if route else (part, "", "", status)
        took = self._took.get(key)
        if took is None:
            took = self._took[key] = [0.0] * (len(BUCKETS_S) + 2)
        took[bisect_left(BUCKETS_S, seconds)] += 1
        took[-1] += seconds

    def family(self) -> Metric:
        labels = ["part", "method", "route", "status"]
        family = HistogramMetricFamily("linli_http_request_seconds", "Time to the end of the answer", labels=labels)
        for (part, method, route, status), took in self._took.items():
            total, buckets = 0.0, []
            for bound, count in zip([*map(str, BUCKETS_S), "+Inf"], took[:-1], strict=True):
                total += count
                buckets.append((bound, total))
            family.add_metric([part, method, route, str(status)], buckets, took[-1])
        return family


class Metrics:
    """One process's figures. Every part that lives in it adds a source."""

    def __init__(self) -> None:
        self.requests = Requests()
        self._sources: dict[str, Source] = {}

    def add(self, part: str, source: Source) -> None:
        self._sources[part] = source

    async def page(self) -> bytes:
        """The page in Prometheus' text format. A part that cannot tell is `linli_up` 0, and misses otherwise."""
        samples = await asyncio.gather(*(self._ask(part, source) for part, source in self._sources.items()))
        told = zip(self._sources, samples, strict=True)
        families = _families((part, sample) for part, samples in told for sample in samples)
        own = ProcessCollector(registry=None).collect()
        return generate_latest(_Told([self.requests.family(), *families, *own]))

    async def _ask(self, part: str, source: Source) -> Sequence[Sample]:
        try:
            return [*await source(), Sample("linli_up", "Whether the part could tell its figures", 1)]
        except Exception as error:
            log.warning("figures_not_read", of=part, cause=type(error).__name__)
            return [Sample("linli_up", "Whether the part could tell its figures", 0)]


class _Told(Collector):
    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _families(samples: Iterator[tuple[str, Sample]]) -> list[Metric]:
    """One family for each name, with the part as a label."""
    families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {}
    for part, sample in samples:
        family = families.get(sample.name)
        if family is None:
            kind = GaugeMetricFamily if sample.kind == "gauge" else CounterMetricFamily
            labels = ["part", sample.key[0]] if sample.key else ["part"]
            family = families[sample.name] = kind(sample.name, sample.about, labels=labels)
        family.add_metric([part, sample.key[1]] if sample.key else [part], sample.value)
    return list(families.values())


@asynccontextmanager
async def serving(metrics: Metrics, host: str, port: int | None) -> AsyncIterator[None]:
    """Answer `GET /metrics` on this port as long as the block lasts; no port, no answer. OSError when it is taken."""
    if port is None:
        yield
        return

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=await metrics.page(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/metrics", answer)
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield
    finally:
        await runner.cleanup()
