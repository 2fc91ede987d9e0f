"""Secrets: each container has its own and no other, and no value of one is anywhere to be read.

This file comes last, so that the logs it reads tell of everything that the other tests did.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

import pytest

from tests.journeys.compose import IMAGE, SERVICES, ComposeStack

COMMON = {"linli_environment", "linli_database_url", "linli_amqp_url"}
GIVEN = {
    **dict.fromkeys(SERVICES, COMMON),
    "members": COMMON
    | {
        "linli_contact_key",
        "linli_phone_index_key",
        "linli_token_key",
        "linli_operator_password",
        "linli_lookup_public_keys",
    },
    "notify": COMMON | {"linli_lookup_key"},
    "gateway": {"linli_environment", "linli_lookup_key"},
    "postgres": {"postgres_password"},
    "rabbitmq": {"rabbitmq_definitions"},
}
# Not kept from anybody.
PUBLIC = {"linli_environment", "members_lookup_public_keys"}


@pytest.mark.parametrize("part", GIVEN)
def test_a_container_has_its_own_secrets_and_no_other(stack: ComposeStack, part: str) -> None:
    assert set(stack.execute(part, "ls", "/run/secrets").split()) == GIVEN[part]


def secret_values(stack: ComposeStack) -> Iterator[str]:
    """Everything that must not be read anywhere: passwords, keys line by line, hashes of passwords."""
    for file in stack.secrets.iterdir():
        if file.name in PUBLIC:
            continue
        text = file.read_text(encoding="utf-8").strip()
        if file.name.endswith("_url"):
            yield unquote(urlsplit(text).password or "")
        elif file.name == "rabbitmq_definitions":
            yield from (user["password_hash"] for user in json.loads(text)["users"])
        else:
            yield from (line for line in text.splitlines() if not line.startswith("-----"))


def told_by(text: str, values: list[str]) -> list[str]:
    """The secrets that are in the text, as far as a report may tell."""
    return [value[:4] + "…" for value in values if value in text]


def test_no_secret_is_in_the_configuration_the_image_the_containers_or_the_logs(stack: ComposeStack) -> None:
    values = list(secret_values(stack))
    assert len(values) > 20
    assert min(len(value) for value in values) > 12
    places = {
        "configuration": stack.compose("config"),
        "containers": json.dumps(stack.inspect()),
        "image": stack.docker("image", "inspect", IMAGE),
        "history": stack.docker("history", "--no-trunc", IMAGE),
        "logs": stack.logs(),
    }
    found = {place: told_by(text, values) for place, text in places.items()}
    assert found == {place: [] for place in places}
    assert len(places["logs"]) > 1000
    assert not re.search(r"(amqp|postgresql)(\+asyncpg)?://\w+:(?!\*+@)[^@\s]+@", places["logs"])


def test_control_a_secret_that_is_told_is_seen(stack: ComposeStack) -> None:
    values = list(secret_values(stack))
    told = stack.execute("orders", "cat", "/run/secrets/linli_amqp_url")
    assert len(told_by(told, values)) == 1


def test_secrets_are_kept_from_others_on_the_host(stack: ComposeStack) -> None:
    assert stack.secrets.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in stack.secrets.iterdir()} == {0o444}
