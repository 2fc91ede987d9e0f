"""The process that the tests of the server start: an application that answers at once, slowly, or with a stream.

    python -m tests.chassis.served [--drain-s 1] [--port 8000] [--opening-s 0] [--patience-s 10] [--grace-s 5] [--deaf]
                                   [--uvicorns-own] [--stuck-s 0] [--slam] [--slow-s 0.4]

`--grace-s 0`, `--deaf`, `--uvicorns-own` and `--slam` are for controls: it waits for no answer, does not end its
streams, has connections without limits, or closes its door before everybody is in. For `--stuck-s` it does nothing when
it stops.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvloop
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from chassis import connection, listening
from chassis import server as server_module
from chassis.server import Server, say

# More than the systems between keep for a client that takes nothing.
MUCH_BYTES = 30_000_000


async def _what_it_reads(request: Request) -> Response:
    """The length of the body and the names of the headers, as they are once the body is read."""
    body = await request.body()
    return PlainTextResponse(f"{len(body)} {sorted(request.headers)}")


def application(stopping: asyncio.Event, slow_s: float) -> ASGIApp:
    """What is served until it stops; `/slow` takes `slow_s`."""

    async def ticks() -> AsyncIterator[str]:
        while not stopping.is_set():
            yield "tick\n"
            await asyncio.sleep(0.02)
        yield "end\n"

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/slow":
            say("working")
            await asyncio.sleep(slow_s)
        if scope["path"] == "/read":
            try:
                await (await _what_it_reads(Request(scope, receive)))(scope, receive, send)
            except ClientDisconnect:
                say("left alone")
            return
        if scope["path"] == "/stream":
            await StreamingResponse(ticks())(scope, receive, send)
            return
        await PlainTextResponse("x" * MUCH_BYTES if scope["path"] == "/much" else "done")(scope, receive, send)

    return app


async def serve(arguments: argparse.Namespace) -> None:
    stopping = asyncio.Event()

    @asynccontextmanager
    async def during() -> AsyncIterator[None]:
        say("opening")
        await asyncio.sleep(arguments.opening_s)
        try:
            yield
        finally:
            say("closed")

    def on_stop() -> None:
        if not arguments.deaf:
            stopping.set()
        if arguments.stuck_s:
            say("stuck")
            time.sleep(arguments.stuck_s)

    app = application(stopping, arguments.slow_s)
    server = Server(app, "127.0.0.1", arguments.port, on_stop=on_stop, drain_s=arguments.drain_s, during=during())
    await server.serve()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--drain-s", type=float, default=0)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--opening-s", type=float, default=0)
    parser.add_argument("--grace-s", type=float, default=server_module.GRACEFUL_SHUTDOWN_S)
    parser.add_argument("--patience-s", type=float, default=connection.HEAD_TIMEOUT_S)
    parser.add_argument("--deaf", action="store_true")
    parser.add_argument("--uvicorns-own", action="store_true")
    parser.add_argument("--stuck-s", type=float, default=0)
    parser.add_argument("--slam", action="store_true")
    parser.add_argument("--slow-s", type=float, default=0.4)
    arguments = parser.parse_args()
    server_module.GRACEFUL_SHUTDOWN_S = arguments.grace_s
    connection.HEAD_TIMEOUT_S = connection.BODY_TIMEOUT_S = connection.TAKE_TIMEOUT_S = arguments.patience_s
    if arguments.uvicorns_own:
        setattr(server_module, "Connection", HttpToolsProtocol)  # noqa: B010 - which mypy takes for a mistake
    if arguments.slam:
        listening.ACCEPT_LAST_S = 0
    uvloop.run(serve(arguments))
    return 0


if __name__ == "__main__":
    sys.exit(main())
