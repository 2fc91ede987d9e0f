"""Requests made up from the OpenAPI document, valid and not: no part of Linli answers any of them with a 5xx."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings

from gateway.routes import load_document
from tests.journeys.people import Actor, operator
from tests.journeys.standalone import Standalone

EXAMPLES = int(os.environ.get("LINLI_EXAMPLES", "6"))
# Signing out would end the token of the run, and the stream never ends.
LEFT_OUT = ["/api/v1/auth/logout", "/api/v1/me/stream"]
schema = schemathesis.openapi.from_dict(load_document()).exclude(path=LEFT_OUT)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`LINLI_URL`, else a stack for this alone: no limit on requests, and no waiting for things that are made up."""
    if "LINLI_URL" in os.environ:
        yield os.environ["LINLI_URL"].rstrip("/")
        return
    settings = {"LINLI_REQUEST_LIMIT": "100000/second", "LINLI_ARRIVAL_WAIT_S": "0"}
    stack = Standalone(tmp_path_factory.mktemp("generated") / "data", settings)
    try:
        yield stack.wait_ready()
    finally:
        stack.stop()


@pytest.fixture(scope="module")
def caller(url: str) -> Iterator[Actor]:
    """An operator: refused nowhere for want of a role, so that requests get as far as they can."""
    with operator(url) as actor:
        yield actor


@schema.parametrize()
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_no_request_is_answered_with_a_server_error(case: schemathesis.Case[Any], caller: Actor) -> None:
    headers = {"Authorization": caller.http.headers["Authorization"]}
    response = case.call(base_url=caller.url, headers=headers)
    assert response.status_code < 500, f"{case.as_curl_command()}\n{response.text}"
    if response.status_code >= 400:
        assert response.headers["content-type"][0].startswith("application/problem+json")
