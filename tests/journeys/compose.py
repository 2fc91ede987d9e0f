"""A Linli in containers, every part a process of its own, as `make up` brings it up: a project of its own for tests."""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from tests.journeys.standalone import ROOT

SERVICES = ("members", "catalog", "orders", "points", "notify")
IMAGE = "linli-tests"
UP_TIMEOUT_S = 300
DOCKER_TIMEOUT_S = 120
RECOVERY_S = 15.0
# What a make around the tests tells its own children.
OF_MAKE = frozenset({"MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "MAKELEVEL"})


class ComposeStack:
    """One project: its containers, networks, volumes and secrets. `development` is `DEV=1`, `edge` is `EDGE=1`."""

    def __init__(self, folder: Path, *, development: bool = True, edge: bool = False) -> None:
        self.development = development
        self.edge = edge
        self.secrets = folder / "secrets"
        self.project = f"linli-tests-{uuid4().hex[:8]}"
        self.port, self.management_port = free_ports(2)
        self.url = f"{'https' if edge else 'http'}://127.0.0.1:{self.port}"
        self.management_url = f"http://127.0.0.1:{self.management_port}"
        self._environment = {
            **{name: value for name, value in os.environ.items() if name not in OF_MAKE and name[:6] != "LINLI_"},
            "COMPOSE_PROJECT_NAME": self.project,
            "LINLI_IMAGE": IMAGE,
            "LINLI_SECRETS": str(self.secrets),
            "PORT": str(self.port),
            "MANAGEMENT_PORT": str(self.management_port),
            "EDGE_NETWORK": f"10.{self.port % 200}.{self.management_port % 250}",
        }

    def up(self, scale: Mapping[str, int] | None = None) -> str:
        """Bring everything up and wait until it is healthy; what `make up` said."""
        scales = " ".join(f"--scale {service}={copies}" for service, copies in (scale or {}).items())
        done = self.make("up", f"SCALE={scales}")
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{self.report()}"
        return done.stdout

    def scale(self, **copies: int) -> None:
        """Run so many copies of these services, as anybody may once everything is up; wait until they are healthy."""
        scales = [word for service, count in copies.items() for word in ("--scale", f"{service}={count}")]
        self.compose("up", "--detach", "--wait", "--no-deps", "--no-recreate", *scales, *copies)

    def make(self, target: str, *variables: str) -> subprocess.CompletedProcess[str]:
        mode = ["DEV=1"] * self.development + ["EDGE=1"] * self.edge
        return self._run(["make", "--no-print-directory", target, *mode, *variables], UP_TIMEOUT_S)

    def remove(self) -> None:
        """Take everything down, data and secrets too; nothing of it is worth a slow end."""
        self.compose("kill", check=False)
        done = self.make("down", "WIPE=1")
        shutil.rmtree(self.secrets, ignore_errors=True)
        assert done.returncode == 0, done.stderr

    @property
    def _overlays(self) -> list[str]:
        return ["docker-compose.dev.yml"] * self.development + ["docker-compose.edge.yml"] * self.edge

    @property
    def _command(self) -> list[str]:
        files = ["docker-compose.yml", *self._overlays]
        return ["docker", "compose", *(word for file in files for word in ("-f", file))]

    def compose(self, *arguments: str, check: bool = True, text: str | None = None) -> str:
        """What `docker compose` with these arguments printed."""
        done = self._run([*self._command, *arguments], DOCKER_TIMEOUT_S, text)
        assert done.returncode == 0 or not check, f"{' '.join(arguments)}: {done.stdout}\n{done.stderr}"
        return done.stdout

    def docker(self, *arguments: str) -> str:
        """What `docker` with these arguments printed."""
        done = self._run(["docker", *arguments], DOCKER_TIMEOUT_S)
        assert done.returncode == 0, f"{' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def _run(self, command: Sequence[str], timeout: float, text: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=ROOT,
            env=self._environment,
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def containers(self, *services: str) -> list[str]:
        """Ids of these services' containers, running or not; of all where none is named."""
        return self.compose("ps", "--all", "--quiet", *services).split()

    def inspect(self, *services: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.docker("inspect", *self.containers(*services)))
        return found

    def stop(self, *services: str) -> None:
        """End them with SIGTERM, as a deployment does."""
        self.docker("stop", *self.containers(*services))

    def kill(self, *services: str) -> None:
        """End them with SIGKILL."""
        self.docker("kill", *self.containers(*services))

    def start(self, *services: str) -> None:
        """Start what was stopped or killed, and wait until it is healthy."""
        self.docker("start", *self.containers(*services))
        self.until_healthy(*services)

    def until_healthy(self, *services: str, within: float = 60) -> None:
        wait_until(lambda: self._are_healthy(services), within, f"{services} are not healthy")

    def _are_healthy(self, services: Iterable[str]) -> bool:
        return all(container["State"]["Health"]["Status"] == "healthy" for container in self.inspect(*services))

    def until_ready(self, within: float = RECOVERY_S) -> None:
        """Wait until the door says that every service is ready."""
        wait_until(self.is_ready, within, "not every service is ready")

    def is_ready(self) -> bool:
        try:
            answer = httpx.get(self.url + "/readyz", timeout=5)
        except httpx.TransportError:
            return False
        return answer.status_code == 200 and set(answer.json()["services"].values()) == {"ready"}

    def execute(self, service: str, *command: str, text: str | None = None, check: bool = True) -> str:
        """What a command in a running container of the service printed."""
        return self.compose("exec", "--no-TTY", service, *command, text=text, check=check)

    def logs(self, *services: str, lines: str = "all") -> str:
        return self.compose("logs", "--no-color", "--tail", lines, *services, check=False)

    def secret(self, name: str) -> str:
        return (self.secrets / name).read_text(encoding="utf-8").strip()

    def report(self) -> str:
        """What to look at when something went wrong."""
        return self.compose("ps", "--all", check=False) + "\n" + self.logs(lines="20")


def wait_until(holds: Any, within: float, complaint: str) -> None:
    """Ask until it holds, at most `within` seconds."""
    end = time.monotonic() + within
    while not holds():
        assert time.monotonic() < end, f"{complaint} after {within:.0f} s"
        time.sleep(0.1)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, below those given to outgoing connections: they stay free over a new start."""
    found: list[int] = []
    while len(found) < count:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as probe:
            if port not in found and probe.connect_ex(("127.0.0.1", port)) != 0:
                found.append(port)
    return found
