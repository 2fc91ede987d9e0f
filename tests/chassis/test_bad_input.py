"""Whatever a client sends, it is the client's mistake: 4xx, in the one form of our problems."""

from __future__ import annotations

import gc
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi.exceptions import RequestValidationError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chassis import problems
from chassis.limits import ADDRESS_MAX_BYTES, BODY_MAX_BYTES
from tests.chassis.parts import must_fail
from tests.chassis.toy import SERVICE
from tests.harness import Databases, Person, ServiceUnderTest, run_service

ANN = Person()


@pytest.fixture(scope="module")
async def toy(databases: Databases) -> AsyncIterator[ServiceUnderTest]:
    async with run_service(SERVICE, databases) as running:
        yield running


async def chunks(total: int) -> AsyncIterator[bytes]:
    yield b'{"said": "'
    for _ in range(total // 50_000):
        yield b"x" * 50_000
    yield b'"}'


BODIES: dict[str, tuple[Any, int]] = {
    "NUL in a text": (b'{"said": "a\\u0000b"}', 422),
    "NUL itself": (b'{"said": "a\x00b"}', 422),
    "a lone surrogate": (b'{"said": "\\ud800"}', 422),
    "a lone surrogate as a name": (b'{"\\ud800": 1}', 422),
    "a long name": (json.dumps({"x" * 500_000: 1}).encode(), 422),
    "a huge integer": (b'{"said": "a", "times": ' + b"9" * 4000 + b"}", 422),
    "an integer beyond Python's": (b'{"said": "a", "times": ' + b"9" * 10_000 + b"}", 400),
    "a float for an integer": (b'{"said": "a", "times": 1e400}', 422),
    "NaN": (b'{"said": "a", "times": NaN}', 422),
    "deep lists": (b"[" * 100_000, 400),
    "deep and closed lists": (b"[" * 100_000 + b"]" * 100_000, 400),
    "deep objects": (b'{"a":' * 100_000, 400),
    "invalid UTF-8": (b'{"said": "\xff\xfe"}', 400),
    "UTF-16": ('{"said": "a"}'.encode("utf-16"), 201),
    "half a document": (b'{"said": ', 422),
    "nothing": (b"", 422),
    "null": (b"null", 422),
    "a number": (b"1", 422),
    "a body of 2 MB": (b'{"said": "' + b"x" * 2_000_000 + b'"}', 413),
    "2 MB in chunks": (lambda: chunks(2_000_000), 413),
    "many names": (json.dumps({f"n{n}": n for n in range(20_000)}).encode(), 422),
    "the same name twice": (b'{"said": 1, "said": 2}', 422),
}


@pytest.mark.parametrize("name", BODIES)
async def test_a_bad_body_is_the_clients_mistake(toy: ServiceUnderTest, name: str) -> None:
    body, status = BODIES[name]
    content = body() if callable(body) else body
    answer = await toy.post("/notes", person=ANN, content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text[:300]
    if status != 201:
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["status"] == status
        assert len(answer.content) < 5_000_000


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "multipart/form-data; boundary=a", "", "a/b/c;;"])
async def test_another_content_type_is_the_clients_mistake(toy: ServiceUnderTest, kind: str) -> None:
    answer = await toy.post("/notes", person=ANN, content=b'{"said": "a"}', headers={"Content-Type": kind})
    assert 400 <= answer.status_code < 500, answer.text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/v1/pages?limit=0", 422),
        ("/api/v1/pages?limit=1000", 422),
        ("/api/v1/pages?limit=" + "9" * 5000, 422),
        ("/api/v1/pages?limit=ten", 422),
        ("/api/v1/pages?limit=%00", 400),
        ("/api/v1/pages?cursor=%ff%fe", 422),
        ("/api/v1/pages?cursor=" + "a" * 600, 422),
        ("/api/v1/pages?%ff=1", 200),
        ("/api/v1/pages/%2e%2e/notes", 400),
        ("/api/v1/a%2fb", 400),
        ("/api/v1/a%5Cb", 400),
        ("/api/v1/a%00b", 400),
        ("/api/v1/" + "a" * ADDRESS_MAX_BYTES, 400),
        ("/api/v1/notes?q=" + "a" * ADDRESS_MAX_BYTES, 400),
        ("/api/v1/%ff%fe", 404),
        ("/api/v1/nothing", 404),
        ("/", 404),
        ("//", 404),
        ("/openapi.json", 404),
        ("/docs", 404),
    ],
)
async def test_a_bad_address_is_the_clients_mistake(toy: ServiceUnderTest, path: str, status: int) -> None:
    answer = await toy.client.get(path)
    assert answer.status_code == status
    if status != 200:
        assert answer.headers["Content-Type"] == "application/problem+json"


async def test_a_method_that_a_route_does_not_take_is_a_405(toy: ServiceUnderTest) -> None:
    answer = await toy.delete("/notes", person=ANN)
    assert (answer.status_code, answer.json()["type"]) == (405, "urn:linli:problem:method_not_allowed")


async def bad_bodies_are_forgotten(toy: ServiceUnderTest) -> None:
    large = b"{" + b"a" * 900_000
    headers = {"Content-Type": "application/json"}
    gc.collect()
    gc.disable()
    try:
        for body in (large, b'{"said": "' + b"a" * 900_000 + b'"}', b"[" * 50_000):
            for _ in range(3):
                answer = await toy.post("/notes", person=Person(), content=body, headers=headers)
                assert answer.status_code in {400, 422}
        kept = [found for found in gc.get_objects() if isinstance(found, RequestValidationError)]
    finally:
        gc.enable()
    assert len(kept) <= 1, "the last one may still be on its way"


async def test_a_bad_body_is_forgotten_without_the_garbage_collector(toy: ServiceUnderTest) -> None:
    """It counts objects and not their size: a few megabytes would look like nothing to it."""
    await bad_bodies_are_forgotten(toy)


async def test_the_control_keeps_the_errors_with_their_tracebacks(
    toy: ServiceUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(problems, "_let_go", lambda _: None)
    await must_fail(bad_bodies_are_forgotten, toy)


async def in_raw(toy: ServiceUnderTest, headers: list[tuple[bytes, bytes]], *bodies: bytes) -> int:
    """The status of a request with headers that no client of ours would send."""
    messages = [{"type": "http.request", "body": body, "more_body": True} for body in bodies]
    messages.append({"type": "http.request", "body": b"", "more_body": False})
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    token = f"Bearer {toy.token(ANN)}".encode()
    own = [(b"authorization", token), (b"content-type", b"application/json"), (b"idempotency-key", b"raw")]
    await toy.app(
        {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": "/api/v1/notes",
            "raw_path": b"/api/v1/notes",
            "query_string": b"",
            "root_path": "",
            "headers": own + headers,
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
        },
        receive,
        send,
    )
    [status] = statuses
    return status


async def test_a_false_content_length_changes_nothing(toy: ServiceUnderTest) -> None:
    large = [b"x" * 100_000] * 12
    assert await in_raw(toy, [(b"content-length", b"10")], *large) == 413
    assert await in_raw(toy, [], *large) == 413
    assert await in_raw(toy, [(b"content-length", str(BODY_MAX_BYTES + 1).encode())]) == 413
    assert await in_raw(toy, [(b"content-length", b"9" * 5000)]) == 413
    for nonsense in (b"-1", b"1e3", b"", b"ten", "１".encode()):
        assert await in_raw(toy, [(b"content-length", nonsense)]) == 400


async def test_a_body_of_just_the_limit_is_read(toy: ServiceUnderTest) -> None:
    text = b'{"said": "' + b" " * (BODY_MAX_BYTES - 13) + b'a"}'
    assert len(text) == BODY_MAX_BYTES
    answer = await toy.post("/notes", person=ANN, content=text, headers={"Content-Type": "application/json"})
    assert answer.status_code == 201


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.characters(categories=["Cs"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.just("said"), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(body=anything | st.fixed_dictionaries({"said": anything, "times": anything}))
async def test_no_body_whatsoever_is_our_mistake(toy: ServiceUnderTest, body: object) -> None:
    content = json.dumps(body).encode()
    answer = await toy.post("/notes", person=ANN, content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code < 500, answer.text


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(content=st.binary(max_size=60), language=st.binary(max_size=20), kind=st.sampled_from(["application/json", "x"]))
async def test_nor_are_any_bytes_and_headers(toy: ServiceUnderTest, content: bytes, language: bytes, kind: str) -> None:
    status = await in_raw(toy, [(b"accept-language", language), (b"x-request-id", language)], content)
    assert status < 500
