"""The broker as its administrator has it: overhear letters, send some again, unbind queues."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote, urlsplit

import httpx

from tests.journeys.compose import ComposeStack

SPY = "chaos.spy"
TAKE_MAX = 5000


class Letters:
    """By the management API, as the broker's administrator."""

    def __init__(self, stack: ComposeStack) -> None:
        admin = urlsplit(stack.secret("admin_amqp_url"))
        credentials = (admin.username or "", admin.password or "")
        self._http = httpx.Client(base_url=f"{stack.management_url}/api", auth=credentials, timeout=30)

    def close(self) -> None:
        self._http.close()

    def send(self, exchange: str, routing_key: str, document: str, *, copies: int = 1) -> None:
        """A letter as a relay sends it, so many times."""
        properties = {"delivery_mode": 2, "content_type": "application/cloudevents+json"}
        message = {
            "properties": properties,
            "routing_key": routing_key,
            "payload": document,
            "payload_encoding": "string",
        }
        for _ in range(copies):
            answer = self._http.post(f"/exchanges/%2F/{exchange}/publish", json=message).raise_for_status()
            assert answer.json()["routed"], f"no queue takes {routing_key}"

    @contextmanager
    def overheard(self, exchange: str) -> Iterator[Letters]:
        """A queue beside all others, which gets every letter of the exchange."""
        self._http.put(f"/queues/%2F/{SPY}", json={"durable": False}).raise_for_status()
        try:
            self._http.post(f"/bindings/%2F/e/{exchange}/q/{SPY}", json={"routing_key": "#"}).raise_for_status()
            yield self
        finally:
            self._http.delete(f"/queues/%2F/{SPY}").raise_for_status()

    def take(self) -> list[tuple[str, str]]:
        """What was overheard so far: routing key and document of each letter."""
        wanted = {"count": TAKE_MAX, "ackmode": "ack_requeue_false", "encoding": "auto"}
        found = self._http.post(f"/queues/%2F/{SPY}/get", json=wanted).raise_for_status().json()
        return [(letter["routing_key"], letter["payload"]) for letter in found]

    @contextmanager
    def unbound(self, exchange: str, routing_key: str) -> Iterator[None]:
        """No queue takes letters with this key as long as the block lasts."""
        key, queues = quote(routing_key, safe=""), self._bound_to(exchange, routing_key)
        for queue in queues:
            self._http.delete(f"/bindings/%2F/e/{exchange}/q/{queue}/{key}").raise_for_status()
        try:
            yield
        finally:
            for queue in queues:
                body = {"routing_key": routing_key}
                self._http.post(f"/bindings/%2F/e/{exchange}/q/{queue}", json=body).raise_for_status()

    def hears(self, queue: str, exchange: str, routing_key: str) -> bool:
        return queue in self._bound_to(exchange, routing_key)

    def _bound_to(self, exchange: str, routing_key: str) -> list[str]:
        found = self._http.get(f"/exchanges/%2F/{exchange}/bindings/source").raise_for_status().json()
        return [binding["destination"] for binding in found if binding["routing_key"] == routing_key]

    def consumers(self, queue: str) -> int:
        found = self._http.get("/consumers/%2F").raise_for_status()
        return sum(consumer["queue"]["name"] == queue for consumer in json.loads(found.text))

    def purge(self, queue: str) -> None:
        self._http.delete(f"/queues/%2F/{queue}/contents").raise_for_status()
