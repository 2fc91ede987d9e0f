"""The secrets of an installation in containers."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from chassis.settings import SERVICE_NAMES
from chassis.tokens import Signer
from deploy.secrets import LOOKS_UP, NotThisInstallation, make_secrets
from services.members.keys import DEVELOPMENT_OPERATOR_PASSWORD

DERIVED = {"members_lookup_public_keys", "rabbitmq_definitions", "redis_users"}


def kept(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def is_hash_of(password: str, password_hash: str) -> bool:
    """As RabbitMQ compares: a salt of four bytes, and SHA-256 of salt and password."""
    salted = base64.b64decode(password_hash)
    return hashlib.sha256(salted[:4] + password.encode()).digest() == salted[4:]


def agree(folder: Path) -> bool:
    """Whether what is derived follows from the secrets it is derived from."""
    secrets = kept(folder)
    users: list[dict[str, Any]] = json.loads(secrets["rabbitmq_definitions"])["users"]
    passwords = {user["name"]: user["password_hash"] for user in users}
    urls = {name: secrets[f"{name}_amqp_url"] for name in ("admin", *SERVICE_NAMES)}
    public = {name: Signer(secrets[f"{name}_lookup_key"]).public_keys() for name in LOOKS_UP}
    return (
        passwords.keys() == urls.keys()
        and all(is_hash_of(str(urlsplit(url).password), passwords[name]) for name, url in urls.items())
        and json.loads(secrets["members_lookup_public_keys"]) == public
        and hashlib.sha256(str(urlsplit(secrets["gateway_redis_url"]).password).encode()).hexdigest()
        in secrets["redis_users"]
    )


def test_they_are_made_once_and_stay(tmp_path: Path) -> None:
    made = make_secrets(tmp_path, "production")
    assert made == kept(tmp_path)
    assert agree(tmp_path)
    assert make_secrets(tmp_path, "production") == {}
    assert kept(tmp_path) == made


def test_no_two_installations_and_no_two_parts_share_one(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
    values = [value for folder in folders for value in make_secrets(folder, "production").values()]
    assert len(set(values)) == len(values) - 1, "only the environment is the same"


def test_what_a_later_release_needs_is_added_and_nothing_else_changes(tmp_path: Path) -> None:
    before = make_secrets(tmp_path, "production")
    (tmp_path / "orders_amqp_url").unlink()
    assert make_secrets(tmp_path, "production").keys() == {"orders_amqp_url"} | DERIVED
    after = kept(tmp_path)
    assert {name for name in after if after[name] != before[name]} == {"orders_amqp_url", "rabbitmq_definitions"}
    assert agree(tmp_path)


@pytest.mark.parametrize("lost", ["", "_amqp_url"], ids=["at the first run", "at a later one"])
@pytest.mark.parametrize("last", ["notify_amqp_url", "rabbitmq_definitions"])
def test_when_it_dies_the_next_run_completes_what_is_there(tmp_path: Path, lost: str, last: str) -> None:
    make_secrets(tmp_path, "production")
    for path in list(tmp_path.glob(f"*{lost}")):
        path.unlink()
    obstacle = tmp_path / f".{last}"
    obstacle.mkdir()
    with pytest.raises(OSError, match=last):
        make_secrets(tmp_path, "production")
    obstacle.rmdir()
    before = kept(tmp_path)
    make_secrets(tmp_path, "production")
    assert before.items() <= kept(tmp_path).items()
    assert agree(tmp_path)


def test_the_edge_has_a_key_and_its_certificate_and_keeps_one_that_was_put_there(tmp_path: Path) -> None:
    pem = make_secrets(tmp_path, "production")["edge_certificate"].encode()
    key, certificate = serialization.load_pem_private_key(pem, None), x509.load_pem_x509_certificate(pem)
    assert certificate.public_key() == key.public_key()
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc > timedelta(days=3650)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    (tmp_path / "edge_certificate").unlink()
    (tmp_path / "edge_certificate").write_text("one's own")
    (tmp_path / "orders_amqp_url").unlink()
    make_secrets(tmp_path, "production")
    assert (tmp_path / "edge_certificate").read_text() == "one's own"


def test_only_the_folder_s_owner_gets_in_and_containers_can_read(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    make_secrets(tmp_path, "production")
    assert tmp_path.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o444}


@pytest.mark.parametrize(("first", "second"), [("development", "production"), ("production", "development")])
def test_an_installation_stays_in_its_environment(tmp_path: Path, first: str, second: str) -> None:
    before = make_secrets(tmp_path, first)
    with pytest.raises(NotThisInstallation, match=f"is of {first}, not of {second} mode"):
        make_secrets(tmp_path, second)
    assert kept(tmp_path) == before


def test_a_folder_with_other_things_in_it_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(NotThisInstallation):
        make_secrets(tmp_path, "production")
    assert kept(tmp_path) == {"letter.txt": "dear"}


def test_one_run_waits_for_another(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    second = threading.Thread(target=make_secrets, args=(tmp_path, "production"))
    second.start()
    second.join(0.3)
    assert second.is_alive()
    assert kept(tmp_path) == {}
    os.close(descriptor)
    second.join()
    assert agree(tmp_path)


def run(folder: Path, environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deploy.secrets", str(folder), "--environment", environment]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_operator_s_password_is_told_by_the_run_that_made_it(tmp_path: Path) -> None:
    first, second, other = run(tmp_path, "production"), run(tmp_path, "production"), run(tmp_path, "development")
    password = (tmp_path / "members_operator_password").read_text()
    assert password in first.stdout
    assert DEVELOPMENT_OPERATOR_PASSWORD not in password
    assert (second.returncode, second.stdout) == (0, "")
    assert other.returncode == 2
    assert "not of development mode" in other.stderr


def test_in_development_mode_it_is_the_known_one(tmp_path: Path) -> None:
    assert make_secrets(tmp_path, "development")["members_operator_password"] == DEVELOPMENT_OPERATOR_PASSWORD
