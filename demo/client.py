"""Speaking with Linli: requests that wait when told to, lists read to their end, people who stay signed in."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Self

import httpx

PREFIX = "/api/v1"
IN_FLIGHT_MAX = 16
ATTEMPTS_MAX = 8
PATIENCE_S = 60.0  # a wait longer than this is told to the person at the terminal instead
REQUEST_TIMEOUT_S = 30.0
PAGE_ITEMS = 100
TOKEN_MARGIN_S = 60.0
CODE_WAIT_S = 20.0
POLL_S = 0.25

Thing = dict[str, Any]


class Stopped(Exception):
    """The story cannot go on; the text says why in one sentence."""


class Refused(Stopped):
    """Linli refused a request that the story needs."""

    def __init__(self, request: str, response: httpx.Response) -> None:
        self.status = response.status_code
        self.problem = _problem(response)
        self.type = str(self.problem.get("type", "")).rpartition(":")[2]
        told = self.problem.get("errors") or self.problem.get("detail") or response.reason_phrase
        super().__init__(f"{request} was answered {self.status} {self.type}: {told}")


def _problem(response: httpx.Response) -> Thing:
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


class Api:
    """The public API at one address, asked by at most `IN_FLIGHT_MAX` requests at a time."""

    def __init__(self, url: str) -> None:
        limits = httpx.Limits(max_connections=IN_FLIGHT_MAX, max_keepalive_connections=IN_FLIGHT_MAX)
        # Development mode answers on this machine only, so no proxy (trust_env) stands between.
        self._http = httpx.AsyncClient(
            base_url=url,
            limits=limits,
            headers={"Accept-Language": "en"},
            timeout=REQUEST_TIMEOUT_S,
            trust_env=False,
        )
        self._slots = asyncio.Semaphore(IN_FLIGHT_MAX)
        self.requests = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        params: Thing | None = None,
        headers: dict[str, str] | None = None,
    ) -> Any:
        """The answer's body. Tried again after the time in `Retry-After`, where an answer has it."""
        attempts = 0
        while True:
            async with self._slots:
                self.requests += 1
                response = await self._http.request(method, PREFIX + path, json=body, params=params, headers=headers)
            if response.is_success:
                return response.json() if response.content else None
            attempts += 1
            wait = response.headers.get("Retry-After", "")
            if not wait.isdigit() or float(wait) > PATIENCE_S or attempts == ATTEMPTS_MAX:
                raise Refused(f"{method} {path}", response)
            await asyncio.sleep(float(wait))


class Account:
    """Somebody signed in: asks in their own name, and renews the sign-in before it ends."""

    def __init__(self, api: Api, tokens: Thing) -> None:
        self._api = api
        self._renewing = asyncio.Lock()
        self._keep(tokens)

    def _keep(self, tokens: Thing) -> None:
        self.person_id: str = tokens["person_id"]
        self._access: str = tokens["access_token"]
        self._refresh: str = tokens["refresh_token"]
        self._until = time.monotonic() + float(tokens["expires_in"]) - TOKEN_MARGIN_S

    async def get(self, path: str, **params: Any) -> Any:
        return await self._send("GET", path, params=params)

    async def post(self, path: str, body: object = None, *, key: str | None = None) -> Any:
        """`key` goes out as Idempotency-Key: the same on every run, so that a step sent again has no second effect."""
        return await self._send("POST", path, {} if body is None else body, key=key)

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

    async def _send(
        self, method: str, path: str, body: object = None, *, params: Thing | None = None, key: str | None = None
    ) -> Any:
        async with self._renewing:
            if time.monotonic() > self._until:
                self._keep(await self._api.send("POST", "/auth/refresh", {"refresh_token": self._refresh}))
        headers = {"Authorization": f"Bearer {self._access}"}
        if key is not None:
            headers["Idempotency-Key"] = f"demo-{key}"
        return await self._api.send(method, path, body, params=params, headers=headers)


async def sign_in_operator(api: Api, username: str, password: str) -> Account:
    return Account(api, await api.send("POST", "/auth/token", {"username": username, "password": password}))


async def sign_in_by_phone(api: Api, phone: str) -> Account:
    """Ask for a code, read it where development mode shows it, hand it in."""
    before = await _codes(api, phone)
    challenge = await api.send("POST", "/auth/otp", {"phone": phone})
    until = time.monotonic() + CODE_WAIT_S
    while (codes := await _codes(api, phone))[:1] == before[:1]:
        if time.monotonic() > until:
            raise Stopped(f"No sign-in code for {phone} arrived within {CODE_WAIT_S:.0f} s.")
        await asyncio.sleep(POLL_S)
    answer = {"challenge_id": challenge["challenge_id"], "code": codes[0][1]}
    return Account(api, await api.send("POST", "/auth/token", answer))


async def _codes(api: Api, phone: str) -> list[tuple[str, str]]:
    """When each code was sent, and the code; newest first."""
    shown = await api.send("POST", "/dev/sms", {"phone": phone})
    return [(message["sent_at"], message["code"]) for message in shown["messages"] if message["code"]]


async def reach(api: Api, url: str) -> None:
    """Make sure that Linli answers and lets sign-in codes be read."""
    try:
        await api.send("POST", "/dev/sms", {"phone": "19900000000"})
    except httpx.TransportError as error:
        raise Stopped(f"Nothing answers at {url}: start Linli with `make run`, or set LINLI_URL.") from error
    except Refused as refused:
        raise Stopped(f"What answers at {url} is no Linli in development mode: it shows no sign-in codes.") from refused
