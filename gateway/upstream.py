"""A service behind a URL, as an upstream like the application itself: over aiohttp, streamed both ways.

What fails is `Unavailable`, whenever it fails: before the answer has begun the gateway says so, and an answer that has
begun it cuts, so that half an answer never looks like a whole one.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator

import structlog
from aiohttp import (
    AddrInfoType,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    StreamReader,
    TCPConnector,
    hdrs,
)
from starlette.types import Receive, Scope, Send
from yarl import URL

from chassis.errors import BadRequest, Unavailable
from gateway.body import Body
from gateway.exchange import Data, Headers
from gateway.repeat import Lost, may_be_repeated, request

CONNECT_TIMEOUT_S = 2.0
# By the other end's system, even while the service itself is busy.
ACKNOWLEDGE_TIMEOUT_S = 2.0
# Until an answer begins, and between two of its bytes. A service that waits for its database says so before.
SILENCE_TIMEOUT_S = 12.0
# Between two bytes of a live stream, which says something every 15 seconds.
STREAM_SILENCE_TIMEOUT_S = 60.0
# To one service, for every request that waits for it and every live stream: one that hangs uses up its own only.
CONNECTIONS_MAX = 5_000
# Shorter than the 5 seconds after which a service closes an idle connection: none is used that is about to go.
KEEP_ALIVE_S = 4
# How long a copy that was added goes unnoticed, and an address may by now be somebody else's.
DNS_CACHE_S = 2

log = structlog.get_logger(__name__)


def open_session(
    connect_timeout_s: float = CONNECT_TIMEOUT_S, silence_timeout_s: float = SILENCE_TIMEOUT_S
) -> ClientSession:
    """The process's one client, for every upstream: its connections and its patience."""
    connector = TCPConnector(
        limit=0,
        limit_per_host=CONNECTIONS_MAX,
        keepalive_timeout=KEEP_ALIVE_S,
        ttl_dns_cache=DNS_CACHE_S,
        socket_factory=_socket,
    )
    return ClientSession(
        connector=connector,
        timeout=ClientTimeout(total=None, connect=connect_timeout_s, sock_read=silence_timeout_s),
    )


def _socket(address: AddrInfoType) -> socket.socket:
    """One that breaks when what it sends is not acknowledged: a connection that is kept does not show that its other
    end, or the network between, has gone without a word."""
    made = socket.socket(*address[:3])
    if sys.platform == "linux":
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(ACKNOWLEDGE_TIMEOUT_S * 1000))
    return made


class Streams:
    """The live streams that pass through this process. They have no end of their own: it stops when they are ended."""

    def __init__(self) -> None:
        self._open: set[ClientResponse] = set()
        self.ended = False

    def end(self) -> None:
        """End them all, and any that still begins."""
        self.ended = True
        for response in self._open:
            response.close()

    def add(self, response: ClientResponse) -> None:
        self._open.add(response)
        if self.ended:
            response.close()

    def discard(self, response: ClientResponse) -> None:
        self._open.discard(response)


class HttpUpstream:
    """An ASGI application that hands every request to the service at `origin` (`http://orders:8000`)."""

    def __init__(self, session: ClientSession, origin: str, streams: Streams) -> None:
        self._session = session
        self._origin = URL(origin)
        self._streams = streams
        # Since the process began.
        self.failures = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = Body(receive)
        response = await self._request(scope, body)
        try:
            await send({"type": "http.response.start", "status": response.status, "headers": response.raw_headers})
            if hdrs.CONTENT_LENGTH in response.headers or response.content.is_eof() or not body.complete:
                await _pass_on(response.content, send)
            else:
                await self._pass_on_stream(response, receive, send)
        except (ClientError, TimeoutError) as error:
            raise self._unavailable(error) from error
        finally:
            response.close()

    async def _request(self, scope: Scope, body: Body) -> ClientResponse:
        """Send the request; its answer as soon as that begins."""
        method: str = scope["method"]
        try:
            headers = [(name.decode(), value.decode()) for name, value in scope["headers"]]
            url = self._url(scope)
        except UnicodeDecodeError as error:
            raise BadRequest() from error
        # What may be sent once more has to be there once more.
        data = await body.read(whole=may_be_repeated(method, headers))
        try:
            return await request(self._session, method, url, framed(headers, data), data)
        except (ClientError, OSError) as error:
            raise body.failure or self._unavailable(error) from error

    def _url(self, scope: Scope) -> URL:
        """The service's origin, and path and query byte for byte."""
        return URL.build(
            scheme=self._origin.scheme,
            authority=self._origin.raw_authority,
            path=scope["raw_path"].decode(),
            query_string=scope["query_string"].decode(),
            encoded=True,
        )

    async def _pass_on_stream(self, response: ClientResponse, receive: Receive, send: Send) -> None:
        """An answer that announces no length: left as soon as nobody listens, and a live one when the process stops."""
        watch = asyncio.create_task(_close_when_gone(response, receive))
        live = response.content_type == "text/event-stream"
        if live:
            self._streams.add(response)
            _bear_silence(response)
        try:
            await _pass_on(response.content, send)
        except ClientError:
            if live and self._streams.ended:
                await send({"type": "http.response.body"})
            elif not watch.done():
                raise
        finally:
            watch.cancel()
            self._streams.discard(response)

    def _unavailable(self, error: Exception) -> Unavailable:
        # Not its text, which may hold the query or headers.
        self.failures += 1
        cause = error.__cause__ if isinstance(error, Lost) else error
        log.warning("upstream_failed", upstream=str(self._origin), cause=type(cause).__name__)
        return Unavailable()


def framed(headers: Headers, data: Data) -> Headers:
    """The headers without the client's length where the body is here: aiohttp says how long it is.

    The client's is of what the client sent. If less is sent on (HEAD as GET, a part of an export), the service would
    take the beginning of the next request on the connection, somebody else's, for the rest.
    """
    if isinstance(data, AsyncIterator):
        return headers
    return [(name, value) for name, value in headers if name != "content-length"]


async def _pass_on(content: StreamReader, send: Send) -> None:
    more = True
    while more:
        part = await content.readany()
        more = not content.at_eof()
        await send({"type": "http.response.body", "body": part, "more_body": more})


def _bear_silence(response: ClientResponse) -> None:
    """From now on the answer may pause for as long as a live stream does."""
    protocol = response.connection.protocol if response.connection else None
    if protocol is not None:
        protocol.read_timeout = STREAM_SILENCE_TIMEOUT_S
        protocol.start_timeout()


async def _close_when_gone(response: ClientResponse, receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    response.close()
