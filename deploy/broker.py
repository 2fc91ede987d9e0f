"""Who may do what on the broker: a user a service, with the least that it needs, and one who sets everything up.

A service declares, reads and writes its own queues, and publishes facts under its own name: it can neither tell
another's facts nor read another's letters.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from urllib.parse import SplitResult

import httpx

from chassis.topology import EXCHANGE, UNHEARD, Topology

ADMIN = "admin"
VHOST = "/"
MANAGEMENT_PORT = 15672
SALT_BYTES = 4


def definitions(passwords: Mapping[str, str]) -> dict[str, object]:
    """RabbitMQ's definitions for these users: `ADMIN`, and every other one a service. There is no `guest`."""
    services = [name for name in passwords if name != ADMIN]
    return {
        "vhosts": [{"name": VHOST}],
        "users": [_user(name, password) for name, password in passwords.items()],
        "permissions": [_permission(ADMIN, ".*", ".*"), *(_own_queues(name) for name in services)],
        "topic_permissions": [_own_facts(name) for name in services],
    }


def management(admin: SplitResult) -> httpx.AsyncClient:
    """The broker's management API, for the administrator whose AMQP URL this is."""
    user = (admin.username or "", admin.password or "")
    return httpx.AsyncClient(base_url=f"http://{admin.hostname}:{MANAGEMENT_PORT}/api", auth=user, trust_env=False)


def left_over(bindings: Iterable[Mapping[str, str]], topology: Topology) -> list[str]:
    """Of the bindings that the management API lists, those to our queues that this release does not make, as text."""
    bound = {**topology.queues, UNHEARD: topology.unheard}
    return [
        f"{binding['destination']} to {binding['routing_key']}"
        for binding in bindings
        if binding["source"] == EXCHANGE and binding["routing_key"] not in bound.get(binding["destination"], ())
    ]


def _user(name: str, password: str) -> dict[str, object]:
    salt = os.urandom(SALT_BYTES)
    digest = hashlib.sha256(salt + password.encode()).digest()
    return {
        "name": name,
        "password_hash": base64.b64encode(salt + digest).decode(),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": ["administrator"] if name == ADMIN else [],
    }


def _own_queues(name: str) -> dict[str, object]:
    own = rf"{name}(\.dead)?"
    return _permission(name, f"^{own}$", f"^({re.escape(EXCHANGE)}|{own})$")


def _permission(user: str, configure: str, use: str) -> dict[str, object]:
    return {"user": user, "vhost": VHOST, "configure": configure, "write": use, "read": use}


def _own_facts(name: str) -> dict[str, object]:
    return {"user": name, "vhost": VHOST, "exchange": EXCHANGE, "write": rf"^{name}\..*", "read": ".*"}
