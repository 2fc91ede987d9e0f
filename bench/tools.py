"""The programs that put on the load and set the limits: wrk, nginx and pgbench.

wrk and nginx are taken from this machine, else from a container of `bench/Dockerfile` on this machine's network;
pgbench comes with the embedded PostgreSQL.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sqlalchemy import make_url

from bench.figures import Untrue
from chassis import embedded_postgres

IMAGE = "linli-bench"
HERE = Path(__file__).parent
SQL = HERE / "sql"
SCRIPT = HERE / "requests.lua"
WRK_THREADS = 2


@dataclass(frozen=True)
class Load:
    """What wrk saw in one window."""

    requests: int
    refused: int
    broken: int
    seconds: float
    p50_ms: float
    p99_ms: float

    @property
    def answered(self) -> int:
        """Requests answered with 2xx."""
        return self.requests - self.refused

    def all_answered(self) -> Load:
        """This load; Untrue when anything in it was refused or lost."""
        if self.refused or self.broken or not self.requests:
            raise Untrue(str(self))
        return self

    @property
    def per_s(self) -> float:
        return self.answered / self.seconds


def request_bytes(
    method: str, url: str, path: str, *, token: str | None = None, key: str | None = None, body: bytes = b""
) -> bytes:
    """One request as it goes over the wire."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {url.removeprefix('http://')}"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    if key:
        lines.append(f"Idempotency-Key: {key}")
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def wrk(url: str, requests: Iterable[bytes], folder: Path, *, clients: int, seconds: int, once: bool = False) -> Load:
    """Send the requests for so long: in turn and again, or each `once`, which ends early when there are no more."""
    file = folder / "requests.bin"
    with file.open("wb") as out:
        for request in requests:
            out.write(b"%d\n" % len(request) + request)
    command = [*program("wrk", folder), f"-t{WRK_THREADS}", f"-c{clients}", f"-d{seconds}s", "--timeout", "30s"]
    done = _run([*command, "-s", str(SCRIPT), url, "--", str(file), str(WRK_THREADS), "once" if once else "again"])
    return Load(**json.loads(done.splitlines()[-1]))


def pgbench(
    database_url: str, script: Path, *, clients: int, seconds: int, variables: Mapping[str, object] | None = None
) -> float:
    """Transactions a second that PostgreSQL does of the script by itself, with prepared statements."""
    url = make_url(database_url)
    host, port = url.query.get("host", url.host), url.query.get("port", url.port or 5432)
    defines = [word for name, value in (variables or {}).items() for word in ("-D", f"{name}={value}")]
    binary = embedded_postgres.binaries() / "pgbench"
    done = _run(
        [
            str(binary), "-n", "-M", "prepared", "-c", str(clients), "-j", "2", "-T", str(seconds),
            "-f", str(script), *defines,
            "-h", str(host), "-p", str(port), "-U", str(url.username), str(url.database),
        ],
        {"PGPASSWORD": url.password or ""},
    )  # fmt: skip
    rate = next(line for line in done.splitlines() if line.startswith("tps"))
    failed = next((line for line in done.splitlines() if line.startswith("number of failed transactions: ")), "")
    if failed and not failed.startswith("number of failed transactions: 0"):
        raise RuntimeError(failed)
    return float(rate.split()[2])


@cache
def program(name: str, folder: Path) -> Sequence[str]:
    """How to call wrk or nginx."""
    if found := shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin"):
        return [found]
    if not shutil.which("docker"):
        raise RuntimeError(f"make bench needs {name} (on Debian and Ubuntu: apt install wrk nginx-light), or Docker")
    _run(["docker", "build", "--quiet", "--tag", IMAGE, str(HERE)])
    mounts = [word for path in (folder, HERE) for word in ("--volume", f"{path}:{path}")]
    return ["docker", "run", "--rm", "--network", "host", "--pid", "host", *mounts, IMAGE, name]


def _run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **(environment or {})}
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {done.stdout}{done.stderr}")
    return done.stdout
