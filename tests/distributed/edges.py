"""An installation with an edge, in production mode, and its operator."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import installation
from tests.distributed.steady import Steady
from tests.journeys.compose import ComposeStack
from tests.journeys.people import Actor

COPIES = {"orders": 2, "gateway": 2}


@contextmanager
def edge(config: pytest.Config, folder: Path) -> Iterator[ComposeStack]:
    """Up and healthy, with two gateways and two copies of orders; its certificate is trusted within the block."""
    with installation(config, folder, edge=True) as linli, pytest.MonkeyPatch.context() as environment:
        linli.development = False
        linli.up(COPIES)
        environment.setenv("SSL_CERT_FILE", certificate(linli))
        linli.until_ready(within=60)
        yield linli


def certificate(linli: ComposeStack) -> str:
    """The file with the edge's certificate, readable by whoever has to check it."""
    return os.fspath(linli.secrets / "edge_certificate")


@contextmanager
def operator_of(linli: ComposeStack) -> Iterator[Actor]:
    """The first operator of an installation of production."""
    with Actor(linli.url) as staff:
        account = {"username": "operator", "password": linli.secret("members_operator_password")}
        yield staff.take_tokens(staff.post("/auth/token", account))


def load(linli: ComposeStack, *, members: int, products: int) -> Steady:
    """A load on a community of its own."""
    with operator_of(linli) as staff:
        city = staff.post("/areas", {"level": "city", "name": "成都市", "name_en": "Chengdu"})
        body = {"parent_id": city["id"], "level": "community", "name": "玉林北路社区", "name_en": "Yulin North"}
        area = staff.post("/areas", body)["id"]
        return Steady(linli.url, certificate(linli), staff, area, members=members, products=products)
