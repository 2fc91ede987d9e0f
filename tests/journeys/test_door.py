"""The door: what is not in the document reaches nothing; who one is, is said by a valid token and by nothing else."""

from __future__ import annotations

import json
import socket
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest

from chassis.tokens import Grant, Signer, generate_key
from chassis.world import World
from tests.journeys.people import Actor

WORLD = World()


def test_the_door_says_when_it_is_ready_and_what_it_takes(url: str) -> None:
    assert httpx.get(url + "/healthz").status_code == 200
    document = httpx.get(url + "/api/v1/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert {operation["x-linli-service"] for path in document["paths"].values() for operation in path.values()} == {
        "members",
        "catalog",
        "orders",
        "points",
        "notify",
    }
    page = httpx.get(url + "/api/v1/docs")
    assert "/api/v1/products/{product_id}/claims" in page.text
    assert "http://" not in page.text and "https://" not in page.text  # noqa: PT018 - one fact: no other host


@pytest.mark.parametrize(
    "path",
    [
        "/internal/names",
        "/internal/contacts/00000000-0000-0000-0000-000000000001",
        "/api/v1/internal/names",
        "/api/v1/../internal/names",
        "/api/v1/%2e%2e/internal/names",
        "/api/v1/products/%2e%2e%2finternal",
        "/api/v1//products",
        "/readyz/../internal/names",
        "http://members/internal/names",
        "/api/v2/products",
    ],
)
def test_a_path_that_is_not_in_the_document_reaches_no_service(url: str, path: str) -> None:
    assert raw(url, f"GET {path} HTTP/1.1") in {400, 404}


def raw(url: str, request_line: str, *headers: str) -> int:
    """The status that a request gets which no client library would send."""
    where = urlsplit(url)
    lines = [request_line, f"Host: {where.netloc}", "Connection: close", *headers, "", ""]
    with socket.create_connection((where.hostname or "", where.port or 80), timeout=10) as connection:
        connection.sendall("\r\n".join(lines).encode("latin-1"))
        answer = b""
        while chunk := connection.recv(4096):
            answer += chunk
    return int(answer.split(b" ", 2)[1])


def test_a_method_that_is_not_in_the_document_is_refused(url: str) -> None:
    assert httpx.put(url + "/api/v1/products").status_code == 405


def test_an_unknown_path_is_a_problem_in_the_language_asked_for(url: str) -> None:
    english = httpx.get(url + "/api/v1/nothing", headers={"Accept-Language": "en-GB, zh;q=0.5"})
    chinese = httpx.get(url + "/api/v1/nothing")
    assert english.headers["content-type"] == chinese.headers["content-type"] == "application/problem+json"
    assert english.json()["title"] == "Not found"
    assert chinese.json()["title"] == "未找到"
    assert english.json()["type"] == chinese.json()["type"] == "urn:linli:problem:not_found"


def test_a_token_signed_by_somebody_else_is_refused(url: str, person: Actor) -> None:
    forged = Signer(generate_key()).access_token(uuid4(), uuid4(), [Grant(role="operator")], WORLD.now())
    for path in ("/api/v1/me", "/api/v1/me/points", "/api/v1/products"):
        assert httpx.get(url + path, headers={"Authorization": f"Bearer {forged}"}).status_code == 401
    header, claims, signature = person.http.headers["Authorization"].removeprefix("Bearer ").split(".")
    unsigned, swapped, empty = f"{header}.{claims}.", f"{header}.{claims}.{signature[::-1]}", f"{header}..{signature}"
    for token in (unsigned, swapped, empty, "x", "a.b.c"):
        assert httpx.get(url + "/api/v1/me", headers={"Authorization": f"Bearer {token}"}).status_code == 401


def test_no_header_carries_an_identity(url: str, person: Actor) -> None:
    headers = {"X-Person-Id": person.id, "X-User": person.id, "X-Forwarded-User": person.id, "X-Roles": "operator"}
    assert httpx.get(url + "/api/v1/me", headers=headers).status_code == 401


def test_an_answer_carries_the_request_id_and_no_server_names(url: str) -> None:
    answer = httpx.get(url + "/api/v1/products", headers={"X-Request-Id": "a-request-of-mine"})
    assert answer.headers["x-request-id"] == "a-request-of-mine"
    assert "server" not in answer.headers
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("language", ["en", "zh-CN"])
def test_bad_input_names_the_field_and_what_was_expected(person: Actor, area: str, language: str) -> None:
    body = {"area_id": area, "title": "", "body": "x", "surprise": 1}
    problem = person.post("/needs", body, 422, headers={"Accept-Language": language})
    errors = {error["field"]: error["expected"] for error in problem["errors"]}
    expected = {"en": "at least 1 character(s)", "zh-CN": "至少 1 个字符"}
    assert errors["body.title"] == expected[language]
    assert "body.surprise" in errors


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 50_000,
        json.dumps({"area_id": "\0", "title": "\0", "body": "\ud800"}).encode(),
        json.dumps({"area_id": "00000000-0000-0000-0000-000000000001", "title": "a\0b", "body": "x"}).encode(),
        b'{"title": 1e999999}',
    ],
)
def test_what_cannot_be_read_is_the_callers_mistake(person: Actor, body: bytes) -> None:
    headers = {"Content-Type": "application/json", "Idempotency-Key": uuid4().hex}
    answer = person.http.post("/needs", content=body, headers=headers)
    assert answer.status_code in {400, 422}, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_body_that_is_too_large_is_refused(person: Actor) -> None:
    answer = person.http.post("/needs", content=b"x" * 2_000_000, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413


def test_a_post_that_takes_capacity_needs_an_idempotency_key(person: Actor) -> None:
    claimant = {"claimant": {"type": "member", "id": person.id}}
    answer = person.http.post(f"/products/{uuid4()}/claims", json=claimant)
    assert answer.status_code == 400
    assert answer.json()["type"] == "urn:linli:problem:key_missing"


def test_a_product_that_nobody_has_heard_of_is_worth_one_more_try(person: Actor) -> None:
    claimant = {"claimant": {"type": "member", "id": person.id}}
    headers = {"Idempotency-Key": uuid4().hex}
    answer = person.http.post(f"/products/{uuid4()}/claims", json=claimant, headers=headers)
    assert answer.status_code == 404
    assert int(answer.headers["retry-after"]) > 0


def test_an_edit_of_an_old_version_is_refused(staff: Actor, area: str) -> None:
    body = {"area_id": area, "kind": "activity", "title": "夏送清凉", "summary": "防暑"}
    product = staff.post("/products", body, 201)
    tag = staff.http.get(f"/products/{product['id']}").headers["etag"]
    staff.patch(f"/products/{product['id']}", {"title": "夏送清凉二"}, 200, headers={"If-Match": tag})
    staff.patch(f"/products/{product['id']}", {"title": "夏送清凉三"}, 412, headers={"If-Match": tag})
