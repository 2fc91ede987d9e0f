"""Requests made up from the OpenAPI document, valid and not: no part of Linli answers any of them with a 5xx.

An operator sends them, who is refused nowhere for want of a role, so that they get as far as they can.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
import schemathesis
from hypothesis import HealthCheck, settings

from gateway.routes import load_document
from tests.journeys.conftest import linli
from tests.journeys.people import Actor

EXAMPLES = int(os.environ.get("LINLI_EXAMPLES", "6"))
# Signing out would end the token of the run, and the stream never ends.
LEFT_OUT = ["/api/v1/auth/logout", "/api/v1/me/stream"]
schema = schemathesis.openapi.from_dict(load_document()).exclude(path=LEFT_OUT)


@pytest.fixture(scope="module")
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """As for every journey, but a standalone of its own: no limit on requests, no waiting for what is made up."""
    settings = {"LINLI_REQUEST_LIMIT": "100000/second", "LINLI_ARRIVAL_WAIT_S": "0"}
    with linli(request, tmp_path_factory.mktemp("generated"), settings) as found:
        yield found


@pytest.fixture(scope="module")
def known(staff: Actor, area: str) -> dict[str, str]:
    """Ids of things that are there, by the names of the fields that ask for one."""
    organisation = staff.post("/organisations", {"area_id": area, "name": "种子站党支部", "kind": "branch"})
    centre = staff.post("/centres", {"area_id": area, "name": "玉北党群服务中心", "address": "玉林北路"})
    return {"area_id": area, "organisation_id": organisation["id"], "centre_id": centre["id"]}


@schema.parametrize()
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_no_request_is_answered_with_a_server_error(
    case: schemathesis.Case[Any], staff: Actor, known: dict[str, str]
) -> None:
    case.body = with_known_ids(case.body, known)
    headers = {"Authorization": staff.http.headers["Authorization"]}
    response = case.call(base_url=staff.url, headers=headers)
    assert response.status_code < 500, f"{case.as_curl_command()}\n{response.text}"
    if response.status_code >= 400:
        assert response.headers["content-type"][0].startswith("application/problem+json")


def with_known_ids(body: Any, known: dict[str, str]) -> Any:
    """The body with ids of what is there for those made up, so that the request gets further, and need not wait."""
    if isinstance(body, list):
        return [with_known_ids(item, known) for item in body]
    if isinstance(body, dict):
        return {
            name: known[name] if name in known and is_id(value) else with_known_ids(value, known)
            for name, value in body.items()
        }
    return body


def is_id(value: object) -> bool:
    try:
        return bool(UUID(str(value)))
    except ValueError:
        return False
