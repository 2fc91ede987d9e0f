"""What docker-compose.yml promises of every container, read from the file."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped] # it has no types

from chassis.rabbit import STOP_TIMEOUT_S
from chassis.server import GRACEFUL_SHUTDOWN_S
from chassis.settings import SERVICE_NAMES, BadSetting, Settings
from deploy.secrets import make_secrets

ROOT = Path(__file__).parent.parent.parent


class Merging(yaml.SafeLoader):  # type: ignore[misc] # it has no types
    """Reads Compose's tags `!reset` and `!override`: the value that replaces the one before."""


Merging.add_multi_constructor("!", lambda loader, _, node: loader.construct_sequence(node))

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
DEVELOPMENT: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.dev.yml").read_text())
EDGE: dict[str, Any] = yaml.load((ROOT / "docker-compose.edge.yml").read_text(), Merging)  # noqa: S506 - a SafeLoader
CONTAINERS: dict[str, dict[str, Any]] = COMPOSE["services"]
PARTS = ("gateway", *SERVICE_NAMES)
NETWORK = "${EDGE_NETWORK:-10.231.77}"
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


OF_THE_EDGE = {name: one for name, one in EDGE["services"].items() if name not in CONTAINERS}


@pytest.mark.parametrize("name", [*CONTAINERS, *OF_THE_EDGE])
def test_a_container_can_do_little(name: str) -> None:
    container = {**CONTAINERS, **OF_THE_EDGE}[name]
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
        assert container["image"].startswith("${LINLI_IMAGE:-linli}") == ("user" not in container)


def test_the_gateway_is_the_one_door() -> None:
    assert COMPOSE["networks"]["inner"] == {"internal": True}
    for name, container in CONTAINERS.items():
        assert container["networks"] == (["inner", "outer"] if name == "gateway" else ["inner"])
        assert container.get("ports", []) == (["127.0.0.1:${PORT:-8000}:8000"] if name == "gateway" else [])
    assert OF_THE_EDGE["edge"]["ports"] == ["${EDGE_ADDRESS:-127.0.0.1}:${PORT:-8443}:8443"]
    assert EDGE["services"]["gateway"]["ports"] == []
    assert "ports" not in OF_THE_EDGE["redis"]
    opened = {name: one["ports"] for name, one in DEVELOPMENT["services"].items() if "ports" in one}
    assert opened == {"rabbitmq": ["127.0.0.1:${MANAGEMENT_PORT:-15672}:15672"]}


def test_the_gateways_believe_the_edge_and_count_together() -> None:
    gateway = EDGE["services"]["gateway"]
    address = OF_THE_EDGE["edge"]["networks"]["edge"]["ipv4_address"]
    assert gateway["environment"] == {"LINLI_PROXIES": address}
    assert gateway["secrets"] == [{"source": "gateway_redis_url", "target": "linli_redis_url"}]
    assert gateway["networks"] == ["inner", "edge"]
    assert gateway["deploy"]["replicas"] == 2
    [addresses] = EDGE["networks"]["edge"]["ipam"]["config"]
    subnet, given_out = (ip_network(addresses[name].replace(NETWORK, "10.0.0")) for name in ("subnet", "ip_range"))
    fixed = ip_address(address.replace(NETWORK, "10.0.0"))
    assert fixed in subnet
    assert fixed not in given_out, "somebody else could have it"


def test_no_standard_port_of_a_database_broker_or_cache_is_published() -> None:
    files = [COMPOSE, DEVELOPMENT, EDGE]
    published = [port for one in files for container in one["services"].values() for port in container.get("ports", [])]
    assert published
    for port in published:
        assert re.search(r"127\.0\.0\.1", port.partition(":$")[0])
        assert not {"5432", "5672", "6379"} & set(re.findall(r"\d+", port))


@pytest.mark.parametrize("address", ["0.0.0.0", "192.0.2.1"])  # noqa: S104 - what must be refused
def test_a_development_installation_has_no_edge_on_the_network(address: str) -> None:
    command = ["make", "up", "DEV=1", "EDGE=1", f"EDGE_ADDRESS={address}", "COMPOSE=true"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "published on loopback only" in done.stderr


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
    declared = {**COMPOSE["secrets"], **EDGE["secrets"]}
    assert {name: one["file"] for name, one in declared.items()} == {
        name: f"${{LINLI_SECRETS:-./secrets}}/{name}" for name in made
    }
    containers = [*CONTAINERS.values(), *EDGE["services"].values()]
    given = [secret for container in containers for secret in container.get("secrets", [])]
    assert {_target_and_source(secret)[1] for secret in given} == made.keys()


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
