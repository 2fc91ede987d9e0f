"""The gateway as an ASGI application: local page, or match → limit → verify → forward."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import structlog
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from chassis.errors import InternalError, MethodNotAllowed, Refusal, Unauthenticated, Unavailable, answer
from chassis.headers import CLIENT_ADDRESS_HEADER
from chassis.i18n import negotiate
from chassis.limits import RequestLimits
from chassis.metrics import Metrics
from chassis.settings import Settings
from chassis.telemetry import ROUTE_TEMPLATE, RequestContext
from chassis.tokens import Principal, Verifier
from chassis.world import World
from gateway.address import Addresses
from gateway.compose import Names, forward_with_names
from gateway.export import forward_export
from gateway.figures import gateway_samples
from gateway.forward import forward
from gateway.head import as_get
from gateway.limits import RateLimits
from gateway.pages import Pages
from gateway.readiness import Readiness
from gateway.routes import Route, RoutingTable

BEARER = b"bearer "
READY_PATH = "/readyz"
READS = ("GET", "HEAD")

log = structlog.get_logger(__name__)


def build_gateway(
    document: Mapping[str, Any],
    upstreams: Mapping[str, ASGIApp],
    verifier: Verifier,
    names: Names,
    settings: Settings,
    world: World,
    metrics: Metrics,
    limits: RateLimits | None = None,
) -> ASGIApp:
    """The door before the given services; `document` is the merged OpenAPI document. `limits`: else of the settings."""
    limits = limits or RateLimits(settings)
    metrics.add("gateway", partial(gateway_samples, upstreams, limits))
    gateway = Gateway(document, upstreams, verifier, names, limits, Addresses(settings.proxies), world)
    return RequestContext(RequestLimits(gateway), world, "gateway", metrics.requests, outermost=True)


class Gateway:
    """Routes HTTP requests; other scopes are none of its business."""

    def __init__(
        self,
        document: Mapping[str, Any],
        upstreams: Mapping[str, ASGIApp],
        verifier: Verifier,
        names: Names,
        limits: RateLimits,
        addresses: Addresses,
        world: World,
    ) -> None:
        self._table = RoutingTable(document)
        self._pages = Pages(document)
        self._upstreams = upstreams
        self._readiness = Readiness(upstreams)
        self._verifier = verifier
        self._names = names
        self._addresses = addresses
        self._limits = limits
        self._world = world

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Any) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._answer(scope, receive, watched)
        except Exception as error:
            if started and isinstance(error, Refusal):
                # An answer without its end is one that the server cuts: the client sees that it is not whole.
                log.warning("answer_cut", cause=error.type)
                return
            if started:
                raise
            refusal = error if isinstance(error, Refusal) else _broken(error)
            language = _header(scope, b"accept-language") or b""
            await answer(refusal, negotiate(language.decode("latin-1")))(scope, receive, watched)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        page = self._ready if scope["path"] == READY_PATH else self._pages.find(scope["path"])
        if page is None:
            await self._route(scope, receive, send)
        elif scope["method"] in READS:
            await page(scope, receive, send)
        else:
            raise MethodNotAllowed(*READS)

    async def _ready(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ready when any service is: one that is stopped does not take the door away from the others."""
        found = await self._readiness.of_services(scope)
        if not any(found.values()):
            raise Unavailable()
        services = {name: "ready" if ready else "unavailable" for name, ready in found.items()}
        await JSONResponse({"status": "ready", "services": services})(scope, receive, send)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        address = self._addresses.of(scope)
        try:
            route = self._table.match(scope["method"], scope["path"])
            scope[ROUTE_TEMPLATE] = route.template
            principal = await self._principal(scope, route)
        except Refusal:
            await self._limits.count(address, address)
            raise
        await self._limits.count(str(principal.person_id) if principal else address, address, route.template)
        upstream = self._upstreams.get(route.service)
        if upstream is None:
            raise Unavailable()
        if scope["method"] == "HEAD":
            scope, receive, send = as_get(scope, send)
        if route.compose == "names":
            await forward_with_names(upstream, self._names, self._world.now(), scope, receive, send)
        elif route.compose == "export":
            await forward_export(upstream, self._upstreams, scope, receive, send)
        else:
            told = ((CLIENT_ADDRESS_HEADER, address.encode()),) if route.policy == "sign_in" else ()
            await forward(upstream, scope, receive, send, keyed=route.keyed, told=told)

    async def _principal(self, scope: Scope, route: Route) -> Principal | None:
        """Who asks. The service looks at the token itself, too: this only turns away early what it would refuse."""
        header = _header(scope, b"authorization")
        if route.policy == "sign_in" or (header is None and route.public):
            return None
        if header is None or header[: len(BEARER)].lower() != BEARER:
            raise Unauthenticated()
        return await self._verifier.verify(header[len(BEARER) :].strip().decode("latin-1"))


def _header(scope: Scope, wanted: bytes) -> bytes | None:
    for name, value in scope["headers"]:
        if name == wanted:
            found: bytes = value
            return found
    return None


def _broken(error: Exception) -> Refusal:
    log.error("gateway_failed", cause=repr(error), exc_info=error)
    return InternalError()
