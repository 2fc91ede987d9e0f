"""Dead letters on the command line: what it asks of the API, and what it says."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest

from chassis.settings import SERVICE_NAMES
from deploy.dead_letters import main

F = "0123456789abcdef"
LETTER = {
    "event_id": str(uuid4()),
    "type": "linli.orders.claim_accepted.v1",
    "partition_key": "a-claim",
    "parked_at": "2026-03-02T08:00:00Z",
    "cause": "ValueError('poison')\nmore",
    "reason": None,
}
GROUP = {"fingerprint": F, "type": LETTER["type"], "letters": 3, "oldest": "2026-03-02", "cause": LETTER["cause"]}

Asked = list[tuple[str, str, Any]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, Asked]]:
    """The command with these arguments, before an API that answers as told; its exit code, and what it asked."""
    monkeypatch.setenv("LINLI_OPERATOR_PASSWORD", "secret")

    def run(*arguments: str, answers: dict[str, list[Any]] | None = None) -> tuple[int, Asked]:
        asked: Asked = []

        def answer(request: httpx.Request) -> httpx.Response:
            path = request.url.raw_path.decode().removeprefix("/api/v1")
            if path == "/auth/token":
                assert json.loads(request.content) == {"username": "operator", "password": "secret"}
                return httpx.Response(200, json={"access_token": "a-token"})
            assert request.headers["Authorization"] == "Bearer a-token"
            asked.append((request.method, path, json.loads(request.content) if request.content else None))
            return httpx.Response(200, json=(answers or {}).get(path.partition("?")[0], [[]]).pop(0))

        return main(arguments, httpx.MockTransport(answer)), asked

    return run


def test_it_lists_causes_of_every_service(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    code, asked = run("list", answers={"/services/points/dead-letter-groups": [[GROUP]]})
    assert code == 0
    assert [path for _, path, _ in asked] == [f"/services/{name}/dead-letter-groups" for name in SERVICE_NAMES]
    out = capsys.readouterr().out
    assert f"points {F}      3 linli.orders.claim_accepted.v1" in out
    assert "poison" in out
    assert "more" not in out


def test_it_lists_each_letter_of_a_cause_page_by_page(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    pages = [{"items": [LETTER], "next_cursor": "c1"}, {"items": [LETTER], "next_cursor": None}]
    code, asked = run(
        "list", "--service", "points", "--fingerprint", F, answers={"/services/points/dead-letters": pages}
    )
    assert (code, len(asked)) == (0, 2)
    assert "cursor=c1" in asked[1][1]
    assert capsys.readouterr().out.count(str(LETTER["event_id"])) == 2


def test_it_replays_until_none_is_left(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    path = "/services/points/dead-letters/replay"
    answers = {path: [{"letters": 1000}, {"letters": 12}, {"letters": 0}]}
    code, asked = run("replay", "--service", "points", "--fingerprint", F, "--per-second", "20", answers=answers)
    body = {"event_ids": None, "fingerprint": F, "dry_run": False, "per_second": 20}
    assert (code, asked) == (0, [("POST", path, body)] * 3)
    assert "1012 letters to be handled again" in capsys.readouterr().out


def test_a_dry_run_asks_once(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    path, event_id = "/services/points/dead-letters/discard", str(uuid4())
    arguments = ("discard", "--service", "points", event_id, "--reason", "not wanted", "--dry-run")
    code, asked = run(*arguments, answers={path: [{"letters": 1}]})
    body = {"event_ids": [event_id], "fingerprint": None, "dry_run": True, "reason": "not wanted"}
    assert (code, asked) == (0, [("POST", path, body)])
    assert "1 letters would be discarded" in capsys.readouterr().out


def test_a_refusal_is_told_in_the_apis_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LINLI_OPERATOR_PASSWORD", "wrong")
    refusal = httpx.Response(401, json={"type": "x", "detail": "The password is wrong."})
    assert main(["list"], httpx.MockTransport(lambda _: refusal)) == 1
    assert "The password is wrong." in capsys.readouterr().err
