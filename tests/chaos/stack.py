"""A Linli in containers whose parts can be made to fail in every way that a machine or network knows."""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tests.journeys.compose import ComposeStack, wait_until

OVERLAY = "tests/chaos/compose.yml"
# A broker that was killed takes a minute to start on a machine that has no time for it.
RESTART_S = 180


class FailingStack(ComposeStack):
    """An installation. Once armed, its services can also be told where to die."""

    def __init__(self, folder: Path, *, edge: bool = False) -> None:
        super().__init__(folder, edge=edge)
        self._armed = False

    def arm(self) -> None:
        """From the next `up`, run the services by `crashing.py`."""
        self._armed = True

    @property
    def _overlays(self) -> list[str]:
        return super()._overlays + [OVERLAY] * self._armed

    def make(self, target: str, *variables: str) -> subprocess.CompletedProcess[str]:
        return super().make(target, f"COMPOSE={shlex.join(self._command)}", *variables)

    def die_at(self, service: str, failpoint: str) -> None:
        """Let the service's process die when it comes by there, and wait until Docker has started it anew."""
        before = self._restarts(service)
        self.execute(service, "sh", "-c", f"echo {failpoint} >/tmp/die-at")
        wait_until(lambda: self._restarts(service) > before, RESTART_S, f"{service} never came to {failpoint}")
        self.until_healthy(service)

    def until_healthy(self, *services: str, within: float = RESTART_S) -> None:
        super().until_healthy(*services, within=within)

    def _restarts(self, service: str) -> int:
        return sum(container["RestartCount"] for container in self.inspect(service))

    def disconnect(self, service: str) -> None:
        """Cut the service off from everybody, as a broken switch does: nobody is told."""
        for container in self.containers(service):
            self.docker("network", "disconnect", self._inner, container)

    def connect(self, service: str) -> None:
        for container in self.containers(service):
            self.docker("network", "connect", "--alias", service, self._inner, container)

    @property
    def _inner(self) -> str:
        return f"{self.project}_inner"

    def pause(self, *containers: str) -> None:
        """Hold still every process in them; their connections stay open."""
        self.docker("pause", *containers)

    def unpause(self, *containers: str) -> None:
        self.docker("unpause", *containers)

    def sql(self, database: str, statement: str) -> list[list[str]]:
        """The rows of a statement, or of several, by the database's superuser; every value as text."""
        command = ("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-F", "\t", "-U", "postgres", "-d", f"linli_{database}")
        printed = self.execute("postgres", *command, text=statement)
        return [line.split("\t") for line in printed.splitlines()]

    def heal(self, parts: Sequence[str]) -> None:
        """Whatever a fault left behind when it was interrupted."""
        for container in self.inspect(*parts):
            if container["State"]["Paused"]:
                self.unpause(container["Id"])
            if not container["State"]["Running"]:
                self.docker("start", container["Id"])
            if self._inner not in container["NetworkSettings"]["Networks"]:
                with suppress(AssertionError):
                    service = container["Config"]["Labels"]["com.docker.compose.service"]
                    self.docker("network", "connect", "--alias", service, self._inner, container["Id"])


def rest(seconds: float) -> None:
    """Let things go on as they are."""
    time.sleep(seconds)
