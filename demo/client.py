"""Speaking with Linli: patience while it is away or asks to wait, lists read to their end, sign-ins renewed.

Where an answer is lost, nobody knows whether the request had its effect. A GET, and a POST with an Idempotency-Key, is
simply sent again. Any other POST says `Later`: who sent it looks what is there before acting again (`Api.patiently`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, Self, TypeVar

import httpx

PREFIX = "/api/v1"
IN_FLIGHT_MAX = 16
# Codes are limited by address: if everybody asked for one again and again, an outage would use them up.
SIGN_INS_MAX = 8
PATIENCE_S = 90.0  # longer than a part of Linli needs to stop and start again
PAUSE_MIN_S = 0.5
PAUSE_MAX_S = 5.0
TOLD_AFTER_S = 2.0
TOLD_EVERY_S = 10.0
TIMEOUT = httpx.Timeout(15.0, connect=5.0)
AWAY = frozenset({502, 503, 504})
PAGE_ITEMS = 100
TOKEN_MARGIN_S = 60.0

Thing = dict[str, Any]
T = TypeVar("T")


class Stopped(Exception):
    """The story cannot go on; the text says why in one sentence."""


class Refused(Stopped):
    """Linli refused a request that the story needs."""

    def __init__(self, request: str, response: httpx.Response) -> None:
        problem = _problem(response)
        self.type = str(problem.get("type", "")).rpartition(":")[2]
        told = problem.get("errors") or problem.get("detail") or response.reason_phrase
        super().__init__(f"{request} was answered {response.status_code} {self.type}: {told}")


def _problem(response: httpx.Response) -> Thing:
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


class Later(Stopped):
    """Not now: Linli asks to wait, or a part of it is away, and then the request may have had its effect or not."""

    def __init__(self, why: str, wait_s: float = 0.0) -> None:
        super().__init__(why)
        self.wait_s = wait_s


class Lost(Later):
    """No answer came."""


class Api:
    """The public API at one address, asked by at most `IN_FLIGHT_MAX` requests at a time.

    `tell` is handed a sentence for the person at the terminal when they have to wait.
    """

    def __init__(self, url: str, tell: Callable[[str], object], patience_s: float = PATIENCE_S) -> None:
        limits = httpx.Limits(max_connections=IN_FLIGHT_MAX, max_keepalive_connections=IN_FLIGHT_MAX)
        # Development mode answers on this machine only, so no proxy (trust_env) stands between.
        self._http = httpx.AsyncClient(
            base_url=url,
            limits=limits,
            headers={"Accept-Language": "en"},
            timeout=TIMEOUT,
            trust_env=False,
        )
        self._slots = asyncio.Semaphore(IN_FLIGHT_MAX)
        self._tell = tell
        self._told = 0.0
        self._patience_s = patience_s
        self._progressed = 0.0
        self.sign_ins = asyncio.Semaphore(SIGN_INS_MAX)
        self.requests = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        params: Thing | None = None,
        headers: dict[str, str] | None = None,
    ) -> Any:
        """Send a request once; the answer's body, or Refused, or Later."""
        request = f"{method} {path}"
        try:
            async with self._slots:
                self.requests += 1
                response = await self._http.request(method, PREFIX + path, json=body, params=params, headers=headers)
        except httpx.TransportError as error:
            raise Lost(f"{request} got no answer ({type(error).__name__}).") from error
        if response.is_success:
            return response.json() if response.content else None
        refused = Refused(request, response)
        wait = response.headers.get("Retry-After", "")
        if wait.isdigit() or response.status_code in AWAY:
            raise Later(str(refused), float(wait) if wait.isdigit() else 0.0) from refused
        raise refused

    def progressed(self) -> None:
        """The story got ahead: patience begins anew, so that outages one after another do not add up."""
        self._progressed = time.monotonic()

    async def patiently(
        self, act: Callable[[], Awaitable[T]], look: Callable[[], Awaitable[object]] | None = None
    ) -> T:
        """What `act` gives; each time it says Later: wait, look, act again.

        Stopped after `patience_s` of that in which the story has not got ahead elsewhere either.
        """
        since = 0.0
        pause = PAUSE_MIN_S
        while True:
            try:
                return await act()
            except Later as later:
                now = time.monotonic()
                since = since or now
                wait = later.wait_s or pause
                left = max(since, self._progressed) + self._patience_s - now
                if wait > left:
                    given_up = f"Given up after {now - since:.0f} s; played again, the demo goes on where it was."
                    raise Stopped(f"{later} {given_up}") from later
                if now - since + wait > TOLD_AFTER_S and now - self._told > TOLD_EVERY_S:
                    self._told = now
                    self._tell(f"Waiting, at most {left:.0f} s more: {later}")
            await asyncio.sleep(wait)
            pause = min(2 * pause, PAUSE_MAX_S)
            if look is not None:
                await look()


class Account:
    """Somebody who asks in their own name: signs in for the first request, and again before the sign-in ends.

    `sign_in` gives tokens, however long it takes.
    """

    def __init__(self, api: Api, sign_in: Callable[[], Awaitable[Thing]]) -> None:
        self._api = api
        self._sign_in = sign_in
        self._renewing = asyncio.Lock()
        self._access = ""
        self._refresh: str | None = None
        self._until = 0.0

    async def get(self, path: str, **params: Any) -> Any:
        return await self._api.patiently(partial(self._ask, "GET", path, params=params))

    async def post(self, path: str, body: object = None, *, key: str | None = None) -> Any:
        """`key` goes out as Idempotency-Key: the same on every run, so that a step sent again has no second effect."""
        ask = partial(self._ask, "POST", path, {} if body is None else body, key=key)
        return await (ask() if key is None else self._api.patiently(ask))

    async def list(self, path: str, **params: Any) -> list[Thing]:
        """Every item of a list, page by page."""
        items: list[Thing] = []
        cursor: str | None = None
        while True:
            page = await self.get(path, limit=PAGE_ITEMS, **params, **({"cursor": cursor} if cursor else {}))
            items += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return items

    async def _ask(
        self, method: str, path: str, body: object = None, *, params: Thing | None = None, key: str | None = None
    ) -> Any:
        async with self._renewing:
            if time.monotonic() > self._until:
                self._keep(await self._signed_in())
        headers = {"Authorization": f"Bearer {self._access}"}
        if key is not None:
            headers["Idempotency-Key"] = f"demo-{key}"
        return await self._api.ask(method, path, body, params=params, headers=headers)

    async def _signed_in(self) -> Thing:
        """New tokens. A refresh token is good once, so that whoever misses the answer to it has to sign in anew."""
        refresh, self._refresh = self._refresh, None
        if refresh is not None:
            with suppress(Later, Refused):
                renewed: Thing = await self._api.ask("POST", "/auth/refresh", {"refresh_token": refresh})
                return renewed
        async with self._api.sign_ins:
            return await self._sign_in()

    def _keep(self, tokens: Thing) -> None:
        self._access = tokens["access_token"]
        self._refresh = tokens["refresh_token"]
        self._until = time.monotonic() + float(tokens["expires_in"]) - TOKEN_MARGIN_S
