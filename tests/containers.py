"""Servers in Docker containers for tests; all of them are removed when the run ends."""

from __future__ import annotations

import gc
import warnings

from docker.errors import DockerException  # type: ignore[import-untyped] # it has no types
from requests import RequestException
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient

from tests import run

LABEL = "linli.test-run"
ANSWER_TIMEOUT_S = 60
# Enough for an image to be fetched.
START_TIMEOUT_S = 300

# Testcontainers' reaper removes what a run leaves; we do that ourselves, and so need no privileged container for it.
testcontainers_config.ryuk_disabled = True


class NoDocker(Exception):
    """No container can be run here; the message says why."""


def start(image: str, port: int, environment: dict[str, str], *, command: str | None = None, tmpfs: str = "") -> str:
    """Run a container until the end of the run; `host:port` of where its port is reached. NoDocker when that fails."""
    _require_docker()
    container = DockerContainer(
        image,
        {"timeout": START_TIMEOUT_S},
        command,
        environment,
        ports=[port],
        labels={LABEL: run.folder().name},
    )
    if tmpfs:
        container.with_tmpfs_mount(tmpfs)
    try:
        (run.folder() / f"{port}.container").touch()
        container.start()
        return f"{container.get_container_host_ip()}:{container.get_exposed_port(port)}"
    except (DockerException, RequestException) as error:
        raise NoDocker(str(error)) from error
    finally:
        container.get_docker_client().client.close()


def _require_docker() -> None:
    """NoDocker, soon, where no engine answers."""
    # Docker's client leaves the socket of a failed connection to the garbage collector.
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        trouble = _trouble()
        gc.collect()
    if trouble:
        raise NoDocker(trouble)


def _trouble() -> str | None:
    try:
        DockerClient(timeout=ANSWER_TIMEOUT_S).client.close()
    except DockerException as error:
        return str(error)
    return None


def remove_containers() -> None:
    """Remove what this run started, with what is in it."""
    client = DockerClient().client
    for container in client.containers.list(all=True, filters={"label": f"{LABEL}={run.folder().name}"}):
        container.remove(force=True, v=True)
    client.close()
