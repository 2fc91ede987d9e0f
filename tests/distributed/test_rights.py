"""What a service may do with its secrets, tried from inside its container: what is its own, nothing of another's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.journeys.compose import SERVICES, ComposeStack

SCRIPT = Path(__file__).with_name("attempts.py").read_text(encoding="utf-8")
REFUSED_BY_BROKER = "ChannelAccessRefused"
REFUSED_BY_DATABASE = "InsufficientPrivilegeError"

Attempt = tuple[str, str]


def outcomes(stack: ComposeStack, service: str, attempts: list[Attempt]) -> dict[Attempt, str]:
    """How each attempt ended: `done`, or the class of the error."""
    printed = stack.execute(service, "python", "-W", "ignore", "-", json.dumps(attempts), text=SCRIPT)
    return dict(zip(attempts, json.loads(printed), strict=True))


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_its_own_facts_queues_and_database_and_nobody_elses(stack: ComposeStack, service: str) -> None:
    others = [other for other in SERVICES if other != service]
    own = [
        ("tell", f"{service}.nobody_listens_to.v1"),
        ("read", f"{service}.dead"),
        ("connect_to", f"linli_{service}"),
        ("execute", "SELECT 1 FROM outbox"),
    ]
    on_the_broker = [
        *(("tell", f"{other}.nobody_listens_to.v1") for other in others),
        *(("read", queue) for other in others for queue in (other, f"{other}.dead")),
        ("read", "unheard"),
    ]
    databases = [("connect_to", name) for name in (*(f"linli_{other}" for other in others), "postgres", "template1")]
    assert outcomes(stack, service, own + on_the_broker + databases) == {
        **dict.fromkeys(own, "done"),
        **dict.fromkeys(on_the_broker, REFUSED_BY_BROKER),
        **dict.fromkeys(databases, REFUSED_BY_DATABASE),
    }


def test_a_service_makes_and_removes_nothing_else(stack: ComposeStack) -> None:
    on_the_broker = [
        ("declare_queue", "intruder"),
        ("declare_queue", "ordersintruder"),
        ("declare_exchange", "intruder"),
        ("declare_exchange", "domain.events.intruder"),
        ("delete_exchange", "domain.events"),
        ("delete_queue", "points"),
        ("purge", "points"),
        ("purge", "unheard"),
        ("send_to", "points"),
    ]
    in_its_database = [
        ("execute", statement)
        for statement in (
            "CREATE TABLE intruder (id int)",
            "CREATE TEMPORARY TABLE intruder (id int)",
            "CREATE SCHEMA intruder",
            "CREATE ROLE intruder",
            "CREATE DATABASE intruder",
            "DROP TABLE claims",
            "ALTER TABLE claims ADD COLUMN intruder int",
            "TRUNCATE claims",
            "SET ROLE linli_orders_migrator",
            "SET ROLE postgres",
            "COPY claims TO PROGRAM 'true'",
        )
    ]
    assert outcomes(stack, "orders", on_the_broker + in_its_database) == {
        **dict.fromkeys(on_the_broker, REFUSED_BY_BROKER),
        **dict.fromkeys(in_its_database, REFUSED_BY_DATABASE),
    }


def test_the_broker_knows_no_guest(stack: ComposeStack) -> None:
    guest = ("sign_in", "amqp://guest:guest@rabbitmq/")
    assert outcomes(stack, "orders", [guest]) == {guest: "ProbableAuthenticationError"}
