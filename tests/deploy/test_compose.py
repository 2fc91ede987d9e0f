"""What docker-compose.yml promises of every container, read from the file."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped] # it has no types

from chassis.rabbit import STOP_TIMEOUT_S
from chassis.server import GRACEFUL_SHUTDOWN_S
from chassis.settings import SERVICE_NAMES, BadSetting, Settings
from deploy.secrets import make_secrets

ROOT = Path(__file__).parent.parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
DEVELOPMENT: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.dev.yml").read_text())
CONTAINERS: dict[str, dict[str, Any]] = COMPOSE["services"]
PARTS = ("gateway", *SERVICE_NAMES)
# What the image sets.
IMAGE = dict(re.findall(r"(LINLI_\w+)=(\S+)", (ROOT / "Dockerfile").read_text()))


def secrets_of(container: str) -> dict[str, str]:
    """The file of each secret in the container, by the name it has there."""
    return dict(_target_and_source(secret) for secret in CONTAINERS[container]["secrets"])


def _target_and_source(secret: str | Mapping[str, str]) -> tuple[str, str]:
    return (secret, secret) if isinstance(secret, str) else (secret["target"], secret["source"])


def settings_of(
    part: str, environment: str, folder: Path, monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str]
) -> Settings:
    """What the part reads in its container, in an installation of this environment."""
    kept, mounted = folder / "kept", folder / "mounted"
    for place in (kept, mounted):
        place.mkdir()
    make_secrets(kept, environment)
    for target, source in secrets_of(part).items():
        (mounted / target).write_bytes((kept / source).read_bytes())
    for name, value in {**IMAGE, **variables, "LINLI_SECRETS_DIR": str(mounted)}.items():
        monkeypatch.setenv(name, value)
    return Settings.read()


def variables_of_development(part: str) -> dict[str, str]:
    found: dict[str, str] = DEVELOPMENT["services"][part]["environment"]
    return found


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_container_can_do_little(name: str) -> None:
    container = CONTAINERS[name]
    assert container["read_only"] is True
    assert container["cap_drop"] == ["ALL"]
    assert "cap_add" not in container
    assert container["security_opt"] == ["no-new-privileges:true"]
    assert container["mem_limit"]
    assert container["pids_limit"]
    assert container["logging"]["options"].keys() == {"max-size", "max-file"}
    assert not {"privileged", "container_name", "network_mode"} & container.keys()


def test_no_container_runs_as_root() -> None:
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    for name, container in CONTAINERS.items():
        assert container.get("user", name) == {"postgres": "postgres", "rabbitmq": "rabbitmq"}.get(name, name)
        assert (container["image"] == "${LINLI_IMAGE:-linli}") == ("user" not in container)


def test_the_gateway_is_the_one_door() -> None:
    assert COMPOSE["networks"]["inner"] == {"internal": True}
    for name, container in CONTAINERS.items():
        assert container["networks"] == (["inner", "outer"] if name == "gateway" else ["inner"])
        assert container.get("ports", []) == (["127.0.0.1:${PORT:-8000}:8000"] if name == "gateway" else [])
    opened = {name: one["ports"] for name, one in DEVELOPMENT["services"].items() if "ports" in one}
    assert opened == {"rabbitmq": ["127.0.0.1:${MANAGEMENT_PORT:-15672}:15672"]}


@pytest.mark.parametrize("part", PARTS)
def test_a_part_is_given_its_own_secrets_and_no_others(part: str) -> None:
    for target, source in secrets_of(part).items():
        if target == "linli_environment":
            assert source == "linli_environment"
            continue
        setting = target.removeprefix("linli_")
        assert source == f"{part}_{setting}"
        assert setting in Settings.model_fields


def test_every_secret_that_is_made_is_given_to_somebody(tmp_path: Path) -> None:
    made = make_secrets(tmp_path, "production")
    assert COMPOSE["secrets"].keys() == made.keys()
    assert {name: one["file"] for name, one in COMPOSE["secrets"].items()} == {
        name: f"${{LINLI_SECRETS:-./secrets}}/{name}" for name in made
    }
    assert {source for name in CONTAINERS for source in secrets_of(name).values()} == made.keys()


@pytest.mark.parametrize("part", PARTS)
def test_a_part_starts_after_the_set_up_waits_for_nothing_else_and_may_finish(part: str) -> None:
    assert CONTAINERS[part]["depends_on"] == {"setup": {"condition": "service_completed_successfully"}}
    grace_s = int(CONTAINERS[part]["stop_grace_period"].removesuffix("s"))
    assert grace_s > float(IMAGE["LINLI_DRAIN_S"]) + GRACEFUL_SHUTDOWN_S + STOP_TIMEOUT_S


@pytest.mark.parametrize("part", PARTS)
def test_production_is_the_default_and_complete(part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(part, "production", tmp_path, monkeypatch, {})
    assert settings.environment == "production"
    assert settings.lookup_key is not None or part not in {"gateway", "notify"}
    assert (settings.database_url is None) == (settings.amqp_url is None) == (part == "gateway")
    assert (settings.operator_password is None) == (part != "members")


@pytest.mark.parametrize("part", PARTS)
def test_with_production_s_secrets_the_development_overlay_shows_no_codes(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = variables_of_development(part)
    assert not settings_of(part, "production", tmp_path, monkeypatch, variables).development


@pytest.mark.parametrize("part", PARTS)
def test_development_needs_secrets_of_its_own_and_the_overlay(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settings_of(part, "development", tmp_path, monkeypatch, variables_of_development(part)).development
    monkeypatch.delenv("LINLI_PUBLISHED_ON_LOOPBACK")
    with pytest.raises(BadSetting, match="loopback only"):
        Settings.read()


def test_without_the_overlay_the_set_up_of_a_development_installation_says_why_it_fails(tmp_path: Path) -> None:
    make_secrets(tmp_path, "development")
    done = subprocess.run(
        [sys.executable, "-m", "deploy.setup"],
        env={**IMAGE, "LINLI_SECRETS_DIR": str(tmp_path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "development mode listens on loopback only" in done.stdout
    password = (tmp_path / "postgres_password").read_text()
    assert password not in done.stdout + done.stderr
