"""What the broker says it holds, by its management API."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.journeys.compose import ComposeStack


class BrokerApi:
    """Read as the broker's administrator."""

    def __init__(self, stack: ComposeStack) -> None:
        admin = urlsplit(stack.secret("admin_amqp_url"))
        credentials = (admin.username or "", admin.password or "")
        self._http = httpx.Client(base_url=f"{stack.management_url}/api", auth=credentials, timeout=10)

    def close(self) -> None:
        self._http.close()

    def exchanges(self) -> dict[str, dict[str, Any]]:
        """By name, without those that every broker has."""
        return {
            found["name"]: found
            for found in self._list("exchanges")
            if found["name"].partition(".")[0] not in {"", "amq"}
        }

    def queues(self) -> dict[str, dict[str, Any]]:
        return {found["name"]: found for found in self._list("queues")}

    def bindings(self) -> dict[str, set[tuple[str, str]]]:
        """Of each queue, the exchanges that it is bound to, with the routing keys."""
        found: dict[str, set[tuple[str, str]]] = {}
        for binding in self._list("bindings"):
            if binding["source"]:  # the default exchange reaches every queue by its name
                found.setdefault(binding["destination"], set()).add((binding["source"], binding["routing_key"]))
        return found

    def consumers(self) -> dict[str, int]:
        """How many consumers each queue has."""
        counts = dict.fromkeys(self.queues(), 0)
        for consumer in self._list("consumers"):
            counts[consumer["queue"]["name"]] += 1
        return counts

    def messages(self, queue: str) -> list[str]:
        """What waits in a queue, which keeps it."""
        wanted = {"count": 10_000, "ackmode": "ack_requeue_true", "encoding": "auto"}
        answer = self._http.post(f"/queues/%2F/{queue}/get", json=wanted).raise_for_status()
        return [found["payload"] for found in answer.json()]

    def _list(self, what: str) -> list[dict[str, Any]]:
        answer = self._http.get(f"/{what}/%2F").raise_for_status()
        found: list[dict[str, Any]] = answer.json()
        return found
