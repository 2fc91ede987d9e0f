"""The demo: it plays to its end, says so, and playing it again changes nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from tests.journeys.people import Actor
from tests.journeys.standalone import ROOT


def play(url: str) -> str:
    environment = {**os.environ, "LINLI_URL": url, "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-m", "demo"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def counts(staff: Actor) -> dict[str, int]:
    """How much there is of what the demo makes."""
    found = {}
    for path in ("/areas", "/organisations", "/centres", "/categories", "/products", "/needs", "/rewards"):
        params = {"limit": 100}
        found[path] = 0
        while True:
            page = staff.get(path, params=params)
            found[path] += len(page["items"])
            if page["next_cursor"] is None:
                break
            params = {"limit": 100, "cursor": page["next_cursor"]}
    found["transfers"] = staff.get("/points/ledger/check")["transfers"]
    return found


def test_the_star_ends_first_with_250_points_and_a_second_run_changes_nothing(url: str, staff: Actor) -> None:
    first = play(url)
    assert re.search(r"^\s*1\s+\S.*\s250\s*$", first, re.MULTILINE), first
    assert len(re.findall(r"10 × 1 = 10", first)) == 25
    before = counts(staff)
    assert before["/products"] >= 98
    second = play(url)
    if "LINLI_URL" not in os.environ:  # there, others may be at work at the same time
        assert counts(staff) == before
    assert re.search(r"^\s*1\s+\S.*\s250\s*$", second, re.MULTILINE), second
