"""People who use Linli through its public API, for the journeys."""

from __future__ import annotations

import os
import random
import time
from typing import Any, Self
from uuid import uuid4

import httpx

OPERATOR_PASSWORD = os.environ.get("LINLI_OPERATOR_PASSWORD", "linli-development")
WAIT_S = 10.0


class Actor:
    """Somebody with a client of their own. Calls return the JSON of an expected status, and fail with the problem."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url + "/api/v1", timeout=20)
        self.url = url
        self.id = ""
        self.refresh_token = ""

    def close(self) -> None:
        self.http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(self, method: str, path: str, status: int | None = None, **options: Any) -> Any:
        """The answer's JSON; `status` is what is expected, any success where none is given."""
        if method == "POST":
            options.setdefault("headers", {}).setdefault("Idempotency-Key", uuid4().hex)
        response = self.http.request(method, path, **options)
        expected = response.is_success if status is None else response.status_code == status
        assert expected, f"{method} {path}: {response.status_code} {response.text}"
        return response.json() if response.content else None

    def get(self, path: str, status: int | None = None, **options: Any) -> Any:
        return self.call("GET", path, status, **options)

    def post(self, path: str, body: Any = None, status: int | None = None, **options: Any) -> Any:
        return self.call("POST", path, status, json=body if body is not None else {}, **options)

    def patch(self, path: str, body: Any, status: int | None = None, **options: Any) -> Any:
        return self.call("PATCH", path, status, json=body, **options)

    def delete(self, path: str, status: int | None = None) -> Any:
        return self.call("DELETE", path, status)

    def take_tokens(self, answer: dict[str, Any]) -> Self:
        self.id = answer["person_id"]
        self.refresh_token = answer["refresh_token"]
        self.http.headers["Authorization"] = f"Bearer {answer['access_token']}"
        return self

    def refresh(self) -> Self:
        """Take new tokens, with the roles held now."""
        return self.take_tokens(self.post("/auth/refresh", {"refresh_token": self.refresh_token}))

    def until(self, path: str, condition: Any, *, within: float = WAIT_S, **options: Any) -> Any:
        """The JSON at `path` once it meets the condition; at most `within` seconds."""
        end = time.monotonic() + within
        while True:
            answer = self.get(path, **options)
            if condition(answer):
                return answer
            assert time.monotonic() < end, f"{path} is still {answer}"
            time.sleep(0.05)

    def until_refused(self, path: str) -> None:
        """Wait until the token is refused at this path."""
        end = time.monotonic() + WAIT_S
        while self.http.get(path).status_code != 401:
            assert time.monotonic() < end, f"{path} still takes the token"
            time.sleep(0.05)


def random_phone() -> str:
    return f"199{random.randrange(10**8):08d}"


def read_code(actor: Actor, phone: str, seen: int = 0) -> str:
    """The newest sign-in code sent to the phone, once more than `seen` messages are there."""
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        codes = [message["code"] for message in actor.post("/dev/sms", {"phone": phone})["messages"] if message["code"]]
        if len(codes) > seen:
            return str(codes[0])
        time.sleep(0.03)
    raise AssertionError("no code arrived")


def sign_in(url: str, phone: str | None = None) -> Actor:
    """A person who signed in with the code sent to their phone."""
    phone = phone or random_phone()
    actor = Actor(url)
    before = [message for message in actor.post("/dev/sms", {"phone": phone})["messages"] if message["code"]]
    challenge = actor.post("/auth/otp", {"phone": phone}, 202)
    code = read_code(actor, phone, len(before))
    return actor.take_tokens(actor.post("/auth/token", {"challenge_id": challenge["challenge_id"], "code": code}))


def operator(url: str) -> Actor:
    """The first operator."""
    actor = Actor(url)
    return actor.take_tokens(actor.post("/auth/token", {"username": "operator", "password": OPERATOR_PASSWORD}))
