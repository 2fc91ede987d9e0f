"""The gateway's own figures for Prometheus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from starlette.types import ASGIApp

from chassis.metrics import Sample
from gateway.limits import RateLimits
from gateway.upstream import HttpUpstream


async def gateway_samples(upstreams: Mapping[str, ASGIApp], limits: RateLimits) -> Sequence[Sample]:
    """What became of the requests to services behind a URL, and of the counting of all requests."""
    about = "Requests that a service did not answer to the end"
    alone = "Whether the gateway counts requests by itself, because Redis does not answer"
    return [
        *(
            Sample("linli_upstream_failures_total", about, upstream.failures, "counter", ("upstream", name))
            for name, upstream in upstreams.items()
            if isinstance(upstream, HttpUpstream)
        ),
        Sample("linli_rate_limits_alone", alone, limits.alone),
    ]
