"""A steady load on orders: members who claim a product, look at it, sign, report and release, again and again."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import httpx

from tests.journeys.people import Actor

# What the gateway may send only once: neither reads nor requests with a key.
ONCE = {"sign", "progress", "release"}


class Load:
    """How many requests of each kind were answered as they should; every other end of a request is in `failures`."""

    def __init__(self) -> None:
        self.answered: Counter[str] = Counter()
        self.failures: list[tuple[str, str]] = []
        self._over = threading.Event()

    @contextmanager
    def by(self, members: Sequence[Actor], products: Sequence[str]) -> Iterator[None]:
        """Every member at work on a product of their own, before the block begins and until after its end."""
        with ThreadPoolExecutor(len(members)) as pool:
            working = [pool.submit(self._work, *one) for one in zip(members, products, strict=True)]
            try:
                self._until_answered(10 * len(members))
                yield
                self._until_answered(self.answered.total() + 10 * len(members))
            finally:
                self._over.set()
        for worker in working:
            worker.result()

    def _until_answered(self, count: int) -> None:
        while self.answered.total() < count:
            time.sleep(0.01)

    def _work(self, member: Actor, product: str) -> None:
        while not self._over.is_set():
            request = {"claimant": {"type": "member", "id": member.id}}
            key = {"Idempotency-Key": uuid4().hex}
            claim = self._send("claim", member, "POST", f"/products/{product}/claims", json=request, headers=key)
            if claim is not None:
                path = f"/claims/{claim['id']}"
                self._send("look", member, "GET", path)
                self._send("sign", member, "POST", f"{path}/sign")
                self._send("progress", member, "POST", f"{path}/progress", json={"percent": 50})
                while self._send("release", member, "POST", f"{path}/release") is None:
                    time.sleep(0.2)

    def _send(self, kind: str, member: Actor, method: str, path: str, **options: Any) -> dict[str, Any] | None:
        try:
            answer = member.http.request(method, path, **options)
        except httpx.TransportError as error:
            self.failures.append((kind, repr(error)))
            return None
        if not answer.is_success:
            self.failures.append((kind, f"{answer.status_code} {answer.text}"))
            return None
        self.answered[kind] += 1
        found: dict[str, Any] = answer.json()
        return found
