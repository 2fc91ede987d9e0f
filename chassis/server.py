"""One process's HTTP server: uvicorn, told how to say that it is ready and how to stop without failing anybody.

On the first signal it says that it is not ready and answers with `Connection: close` for `drain_s`, so that whoever
routes to it goes elsewhere; then it ends what never ends by itself, takes no new connection, and stops when it has
answered those that there are. A second signal cuts this short.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chassis import listening
from chassis.connection import Connection
from chassis.errors import Unavailable, answer
from chassis.headers import SecurityHeaders
from chassis.listening import connect_nobody

# Longer than the longest answer takes: a gateway waits 12 s for a service (gateway.upstream).
GRACEFUL_SHUTDOWN_S = 14
# Requests make few cycles, and many objects that are soon gone. The collector counts objects, not their size: no cycle
# that holds a request's body may be left to it (`chassis.problems`).
COLLECT_AFTER_OBJECTS = 10_000


class Draining:
    """ASGI middleware: once `begun`, the process is not ready, and every answer closes its connection."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.begun = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_closing(message: Message) -> None:
            if self.begun and message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), (b"connection", b"close")]}
            await send(message)

        app = answer(Unavailable()) if self.begun and scope["path"] == "/readyz" else self._app
        await app(scope, receive, send_closing)


class Server(uvicorn.Server):
    """Serves one application within the block `during`. `on_stop` ends its streams: uvicorn would wait for them."""

    def __init__(
        self,
        app: ASGIApp,
        host: str,
        port: int,
        *,
        on_stop: Callable[[], None],
        drain_s: float = 0,
        during: AbstractAsyncContextManager[object] | None = None,
    ) -> None:
        self._draining = Draining(SecurityHeaders(app))
        super().__init__(
            uvicorn.Config(
                self._draining,
                host=host,
                port=port,
                http=Connection,
                ws="none",
                # `during` instead, whose error we get: of the application's own lifespan uvicorn makes a traceback.
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=GRACEFUL_SHUTDOWN_S,
            )
        )
        self._during = during or nullcontext()
        self._on_stop = on_stop
        self._drain_s = drain_s
        # Where others are still sent here, those who have connected may need a moment to say what they want.
        self._accept_last_s = max(listening.ACCEPT_LAST_S, drain_s / 10)
        self._drained: asyncio.TimerHandle | None = None

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal; what `during` raises comes through, and SystemExit (3) when the port is taken."""
        with self.capture_signals():
            async with self._during:
                await super().serve(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.should_exit:
            port = self.servers[0].sockets[0].getsockname()[1]
            _collect_less()
            say(f"ready on http://{self.config.host}:{port}  (Ctrl-C stops)")

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals in the loop, and do not raise them again as uvicorn would: we still have to stop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._on_signal, number)
        yield

    def _on_signal(self, number: int) -> None:
        if self._drained is None:
            say("stopping …")
            self._draining.begun = True
            drain_s = self._drain_s if self.started else 0
            self._drained = asyncio.get_running_loop().call_later(drain_s, self.stop)
        elif not self.should_exit:
            self._drained.cancel()
            self.stop()
        else:
            self.handle_exit(number, None)

    def stop(self) -> None:
        """Finish what has begun, and end."""
        self._on_stop()
        if not self.started:
            self._exit()
            return
        for server in self.servers:
            for listener in server.sockets:
                connect_nobody(listener)
        self._drained = asyncio.get_running_loop().call_later(self._accept_last_s, self._exit)

    def _exit(self) -> None:
        self.should_exit = True


def _collect_less() -> None:
    """Let the garbage collector come less often, and leave out what was there before the first request: it stays."""
    gc.set_threshold(COLLECT_AFTER_OBJECTS, *gc.get_threshold()[1:])
    gc.collect()
    gc.freeze()


def say(sentence: str) -> None:
    """Tell the person at the terminal what happens."""
    print(f"linli: {sentence}", flush=True)
