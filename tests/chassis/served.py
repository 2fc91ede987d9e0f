"""The process that the tests of the server start: an application that answers at once, slowly, or with a stream.

    python -m tests.chassis.served [--drain-s 1] [--port 8000] [--opening-s 0] [--grace-s 5] [--deaf]

`--grace-s 0` and `--deaf` are for controls: it waits for no answer, or does not end its streams.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvloop
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from chassis import server as server_module
from chassis.server import Server, say

SLOW_S = 0.4


async def serve(arguments: argparse.Namespace) -> None:
    stopping = asyncio.Event()

    async def ticks() -> AsyncIterator[str]:
        while not stopping.is_set():
            yield "tick\n"
            await asyncio.sleep(0.02)
        yield "end\n"

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/slow":
            say("working")
            await asyncio.sleep(SLOW_S)
        streamed = scope["path"] == "/stream"
        await (StreamingResponse(ticks()) if streamed else PlainTextResponse("done"))(scope, receive, send)

    @asynccontextmanager
    async def during() -> AsyncIterator[None]:
        say("opening")
        await asyncio.sleep(arguments.opening_s)
        try:
            yield
        finally:
            say("closed")

    on_stop = (lambda: None) if arguments.deaf else stopping.set
    server = Server(app, "127.0.0.1", arguments.port, on_stop=on_stop, drain_s=arguments.drain_s, during=during())
    await server.serve()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--drain-s", type=float, default=0)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--opening-s", type=float, default=0)
    parser.add_argument("--grace-s", type=float, default=server_module.GRACEFUL_SHUTDOWN_S)
    parser.add_argument("--deaf", action="store_true")
    arguments = parser.parse_args()
    server_module.GRACEFUL_SHUTDOWN_S = arguments.grace_s
    uvloop.run(serve(arguments))
    return 0


if __name__ == "__main__":
    sys.exit(main())
