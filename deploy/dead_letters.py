"""Dead letters on the command line: what the services gave up on, looked at, replayed or discarded through the API.

    python -m deploy.dead_letters list                                   by cause, of every service
    python -m deploy.dead_letters list --service points --fingerprint F  each one of a cause
    python -m deploy.dead_letters show --service points ID
    python -m deploy.dead_letters replay --service points --fingerprint F [--per-second 50] [--dry-run]
    python -m deploy.dead_letters discard --service points ID … --reason "…" [--dry-run]

`LINLI_URL` says where the gateway is (http://127.0.0.1:8000). It signs in as an operator, `LINLI_OPERATOR_USERNAME`
(`operator`) with `LINLI_OPERATOR_PASSWORD`, else asks for the password; so all that it does is in the audit.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import httpx

from chassis.settings import SERVICE_NAMES

URL = "http://127.0.0.1:8000"
TIMEOUT_S = 30


class Refused(Exception):
    """The API refused; the message is its own."""


class Operator:
    """Somebody signed in as an operator, at the API of one installation."""

    def __init__(self, url: str, username: str, password: str, transport: httpx.BaseTransport | None = None) -> None:
        self._http = httpx.Client(base_url=f"{url.rstrip('/')}/api/v1", timeout=TIMEOUT_S, transport=transport)
        tokens = self.call("POST", "/auth/token", {"username": username, "password": password})
        self._http.headers["Authorization"] = f"Bearer {tokens['access_token']}"

    def call(self, method: str, path: str, body: Any = None, **query: str | None) -> Any:
        """The answer's content; Refused with the problem's words."""
        given = {name: value for name, value in query.items() if value is not None}
        answer = self._http.request(method, path, json=body, params=given)
        if answer.is_success:
            return answer.json()
        try:
            problem = answer.json()
            raise Refused(f"{problem['detail']} {problem.get('errors', '')}".strip())
        except (ValueError, KeyError):
            raise Refused(f"{method} {path}: {answer.status_code}") from None


def show_groups(operator: Operator, services: Sequence[str]) -> None:
    """One line for each cause."""
    for service in services:
        for group in operator.call("GET", f"/services/{service}/dead-letter-groups"):
            print(f"{service} {group['fingerprint']} {group['letters']:>6} {group['type']} since {group['oldest']}")
            print(f"    {_first_line(group['cause'])}")


def show_letters(operator: Operator, service: str, fingerprint: str | None, state: str) -> None:
    """One line for each letter."""
    cursor: str | None = None
    while True:
        path = f"/services/{service}/dead-letters"
        answer = operator.call("GET", path, state=state, fingerprint=fingerprint, cursor=cursor, limit="100")
        for letter in answer["items"]:
            cause = letter["reason"] or _first_line(letter["cause"])
            print(f"{letter['event_id']} {letter['type']} {letter['partition_key']} {letter['parked_at']} {cause}")
        cursor = answer["next_cursor"]
        if cursor is None:
            return


def settle(operator: Operator, service: str, action: str, body: dict[str, Any]) -> None:
    """Replay or discard until none is left: a call takes a thousand at most."""
    total = 0
    while True:
        letters = operator.call("POST", f"/services/{service}/dead-letters/{action}", body)["letters"]
        total += letters
        if not letters or body["dry_run"]:
            break
    done = {"replay": "to be handled again", "discard": "discarded"}[action]
    print(f"{total} letters {'would be ' if body['dry_run'] else ''}{done}")


def _first_line(cause: str) -> str:
    return cause.partition("\n")[0]


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.dead_letters", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    actions = parser.add_subparsers(dest="action", required=True)
    for name in ("list", "show", "replay", "discard"):
        action = actions.add_parser(name)
        action.add_argument("--service", choices=SERVICE_NAMES, required=name != "list")
        if name != "show":
            action.add_argument("--fingerprint", help="all of one cause")
    actions.choices["list"].add_argument("--state", choices=("dead", "retry", "discarded"), default="dead")
    actions.choices["show"].add_argument("id")
    for name in ("replay", "discard"):
        actions.choices[name].add_argument("ids", nargs="*", metavar="ID")
        actions.choices[name].add_argument("--dry-run", action="store_true", help="only count them")
    actions.choices["replay"].add_argument("--per-second", type=int, default=50)
    actions.choices["discard"].add_argument("--reason", required=True)
    return parser.parse_args(given)


def run(operator: Operator, asked: argparse.Namespace) -> None:
    """Do what was asked for."""
    match asked.action:
        case "list" if asked.fingerprint or asked.state != "dead":
            for service in [asked.service] if asked.service else SERVICE_NAMES:
                show_letters(operator, service, asked.fingerprint, asked.state)
        case "list":
            show_groups(operator, [asked.service] if asked.service else SERVICE_NAMES)
        case "show":
            letter = operator.call("GET", f"/services/{asked.service}/dead-letters/{asked.id}")
            print(json.dumps(letter, ensure_ascii=False, indent=2))
        case action:
            body = {"event_ids": asked.ids or None, "fingerprint": asked.fingerprint, "dry_run": asked.dry_run}
            body |= {"reason": asked.reason} if action == "discard" else {"per_second": asked.per_second}
            settle(operator, asked.service, action, body)


def main(given: Sequence[str] | None = None, transport: httpx.BaseTransport | None = None) -> int:
    """Returns the process's exit code."""
    asked = _arguments(given)
    username = os.environ.get("LINLI_OPERATOR_USERNAME", "operator")
    password = os.environ.get("LINLI_OPERATOR_PASSWORD") or getpass.getpass(f"password of {username}: ")
    try:
        run(Operator(os.environ.get("LINLI_URL", URL), username, password, transport), asked)
    except (Refused, httpx.HTTPError) as error:
        print(f"linli: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
