"""Ask the package index for known advisories against the locked packages: `make audit`.

Fails when there is one that is not waived. Where the index cannot be asked, it says so and fails nothing: whether
others can be reached is no property of this code.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LOCKS = ("requirements.txt", "requirements-dev.txt")
# An advisory's id, and why it does not concern Linli. Each with the date until which that was thought through.
WAIVED: Mapping[str, str] = {}
TIMEOUT_S = 300


def advisories(report: Mapping[str, Any]) -> list[str]:
    """Of pip-audit's report, those that are not waived: package, version, id, and the versions that mend it."""
    return [
        f"{one['name']} {one['version']}: {found['id']}, mended in {found['fix_versions'] or 'no version yet'}"
        for one in report["dependencies"]
        for found in one.get("vulns", ())
        if not {found["id"], *found["aliases"]} & WAIVED.keys()
    ]


def ask(lock: str) -> Mapping[str, Any] | str:
    """pip-audit's report on a lock, or the last line of why there is none."""
    program = Path(sys.executable).with_name("pip-audit")
    options = ("--format", "json", "--progress-spinner", "off", "--disable-pip", "--require-hashes")
    stderr = ""
    try:
        done = subprocess.run(
            [program, *options, "--requirement", lock], capture_output=True, text=True, check=False, timeout=TIMEOUT_S
        )
        stderr = done.stderr.strip()
        report: Mapping[str, Any] = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return f"no answer within {TIMEOUT_S} s"
    except json.JSONDecodeError:
        return (stderr.splitlines() or ["it said nothing"])[-1]
    return report


def main() -> int:
    """1 when a package that is locked has an advisory against it."""
    bad = 0
    for lock in LOCKS:
        report = ask(lock)
        if isinstance(report, str):
            print(f"{lock}: NOT CHECKED, the index could not be asked: {report}")
            continue
        found = advisories(report)
        print(f"{lock}: {len(report['dependencies'])} packages, {len(found)} advisories", *found, sep="\n  ")
        bad += len(found)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
