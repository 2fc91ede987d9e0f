"""The secrets of an installation in containers: a file each, random, made once, given to the container it is for.

    python -m deploy.secrets FOLDER --environment production

`<part>_<setting>` is the setting of one part. What is there is never changed; what a later release needs is added. The
environment is among them: data of development mode, whose operator's password everybody knows, is never run with
production settings.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from chassis.server import say
from chassis.settings import SERVICE_NAMES
from chassis.tokens import Signer, generate_key
from deploy.broker import ADMIN, definitions
from deploy.certificate import self_signed_certificate
from services.members.keys import DEVELOPMENT_OPERATOR_PASSWORD, generate_keys

# Who looks something up at members, each with a key of its own.
LOOKS_UP = ("gateway", "notify")
BROKER_USERS = (ADMIN, *SERVICE_NAMES)

ENVIRONMENT = "linli_environment"
OPERATOR_PASSWORD = "members_operator_password"  # noqa: S105 - a file's name

# The folder keeps others on the host out. The files themselves are readable, because containers run as other users.
FOLDER_MODE = 0o700
FILE_MODE = 0o444


class NotThisInstallation(ValueError):
    """The folder holds something else than the secrets of an installation of this environment."""


def make_secrets(folder: Path, environment: str) -> dict[str, str]:
    """Add the secrets that are missing; returns those that were made, by file name."""
    with _locked(folder):
        kept = {path.name: path.read_text(encoding="utf-8").strip() for path in _files(folder)}
        if kept and ENVIRONMENT not in kept:
            raise NotThisInstallation("the folder for the secrets has other files in it")
        if kept.get(ENVIRONMENT, environment) != environment:
            other = kept[ENVIRONMENT]
            raise NotThisInstallation(
                f"this installation, with all its data, is of {other}, not of {environment} mode; `make down WIPE=1` "
                "removes it, COMPOSE_PROJECT_NAME, LINLI_SECRETS and PORT make another one beside it"
            )
        folder.chmod(FOLDER_MODE)
        fresh = _fresh_secrets(environment)
        made = {name: value for name, value in fresh.items() if name not in kept}
        derived = _derived_from(fresh | kept)
        if made or not derived.keys() <= kept.keys():
            made |= derived
            # Out of date from the first new secret on, should this process not come to write them.
            for name in derived:
                (folder / name).unlink(missing_ok=True)
        for name, value in made.items():
            _write(folder / name, value)
    return made


def _fresh_secrets(environment: str) -> dict[str, str]:
    """New values for everything that stands by itself, the environment first: it marks the folder as ours."""
    development = environment == "development"
    fresh = {
        ENVIRONMENT: environment,
        OPERATOR_PASSWORD: DEVELOPMENT_OPERATOR_PASSWORD if development else secrets.token_urlsafe(12),
        "postgres_password": _password(),
    }
    fresh |= {f"members_{name}": key for name, key in generate_keys().items()}
    fresh |= {f"{name}_lookup_key": generate_key() for name in LOOKS_UP}
    fresh |= {f"{name}_database_url": _database_url(name) for name in SERVICE_NAMES}
    fresh |= {f"{name}_amqp_url": _amqp_url(name) for name in BROKER_USERS}
    fresh["gateway_redis_url"] = f"redis://gateway:{_password()}@redis:6379/0"
    fresh["edge_certificate"] = self_signed_certificate()
    return fresh


def _derived_from(current: Mapping[str, str]) -> dict[str, str]:
    """What others need to know of the secrets: the public halves of keys, and hashes of the broker's passwords."""
    public_keys = {name: Signer(current[f"{name}_lookup_key"]).public_keys() for name in LOOKS_UP}
    passwords = {name: urlsplit(current[f"{name}_amqp_url"]).password or "" for name in BROKER_USERS}
    return {
        "members_lookup_public_keys": json.dumps(public_keys),
        "rabbitmq_definitions": json.dumps(definitions(passwords), indent=2),
        "redis_users": _redis_users(urlsplit(current["gateway_redis_url"]).password or ""),
    }


def _password() -> str:
    # Of characters that mean nothing in a URL.
    return secrets.token_urlsafe(24)


def _database_url(service: str) -> str:
    return f"postgresql+asyncpg://linli_{service}_app:{_password()}@postgres:5432/linli_{service}"


def _amqp_url(user: str) -> str:
    return f"amqp://{user}:{_password()}@rabbitmq:5672/"


def _redis_users(password: str) -> str:
    """Redis's list of users: the gateway, who may count under its own keys."""
    password_hash = hashlib.sha256(password.encode()).hexdigest()
    rights = "~LIMITS:* +@read +@write +@scripting +@connection -@dangerous"
    return f"user default off\nuser gateway on #{password_hash} {rights}"


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if not path.name.startswith("."))


def _write(path: Path, value: str) -> None:
    """All of it or nothing, whenever the process dies."""
    partial = path.with_name(f".{path.name}")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE), "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), FILE_MODE)
        file.write(value)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One at a time: two that start together keep one set of secrets."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def main() -> int:
    """Make what is missing, and tell the first operator's password if this run made it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--environment", choices=("development", "production"), required=True)
    arguments = parser.parse_args()
    try:
        made = make_secrets(arguments.folder, arguments.environment)
    except (NotThisInstallation, OSError) as error:
        print(f"linli: no secrets made: {error}", file=sys.stderr)
        return 2
    if OPERATOR_PASSWORD in made and arguments.environment == "production":
        say(f"the first operator is `operator`; the password, shown only now, is {made[OPERATOR_PASSWORD]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
