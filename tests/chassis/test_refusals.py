"""Every refusal says what happened, in the language that was asked for."""

from __future__ import annotations

import importlib
import json
import pkgutil
import string
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

import chassis
import gateway
import services
from chassis.errors import InvalidInput, NotFound, Refusal, Unauthenticated, refusal_text
from chassis.i18n import LOCALES, Locale, negotiate
from chassis.problems import understand
from tests.chassis.toy import SERVICE
from tests.harness import Databases, Person, run_service

ROOT = Path(__file__).resolve().parents[2]


def modules(package: ModuleType) -> Iterator[ModuleType]:
    yield package
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if ".migrations" not in found.name and ".alembic" not in found.name and not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)


def refusals() -> list[type[Refusal]]:
    found: list[type[Refusal]] = []
    for package in (chassis, gateway, services):
        for module in modules(package):
            for value in vars(module).values():
                declared = isinstance(value, type) and issubclass(value, Refusal) and value is not Refusal
                if declared and value.__module__ == module.__name__:
                    found.append(value)
    return found


REFUSALS = refusals()


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: f"{refusal.__module__}.{refusal.__name__}")
def test_a_refusal_has_its_status_and_its_texts_in_both_languages(refusal: type[Refusal]) -> None:
    assert 400 <= refusal.status < 600
    assert refusal.type
    fields = []
    for locale in LOCALES:
        text = refusal_text(refusal, locale)
        assert text["title"].strip()
        assert text["detail"].strip()
        fields.append({name for _, name, _, _ in string.Formatter().parse(text["detail"]) if name})
        json.dumps(refusal_text(refusal, locale))
    assert fields[0] == fields[1], "both texts fill in the same"
    assert refusal_text(refusal, "zh-CN") != refusal_text(refusal, "en")


def test_a_problem_type_means_one_thing() -> None:
    by_type: dict[str, set[int]] = {}
    for refusal in REFUSALS:
        by_type.setdefault(refusal.type, set()).add(refusal.status)
    assert {kind: statuses for kind, statuses in by_type.items() if len(statuses) > 1} == {}
    assert len(REFUSALS) > 30


def keys(value: Any, path: str = "") -> set[str]:
    if isinstance(value, dict):
        return set().union(*(keys(inner, f"{path}/{name}") for name, inner in value.items()))
    return {path}


PARTS = ("chassis", "gateway", "services")
CATALOGUES = sorted(path.parent for part in PARTS for path in (ROOT / part).rglob("locales/zh-CN.json"))


@pytest.mark.parametrize("folder", CATALOGUES, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_both_catalogues_have_the_same_keys_and_every_text_is_translated(folder: Path) -> None:
    chinese, english = (json.loads((folder / f"{locale}.json").read_text(encoding="utf-8")) for locale in LOCALES)
    assert keys(chinese) == keys(english)
    assert len(keys(chinese)) > 0


@pytest.mark.parametrize(
    ("asked", "locale"),
    [
        (None, "zh-CN"),
        ("", "zh-CN"),
        ("en", "en"),
        ("en-GB", "en"),
        ("EN-us", "en"),
        ("zh", "zh-CN"),
        ("zh-TW,en", "zh-CN"),
        ("de", "zh-CN"),
        ("de, en;q=0.5", "en"),
        ("en;q=0.5, zh;q=0.9", "zh-CN"),
        ("en;q=0.9, zh;q=0.5", "en"),
        ("en;q=0", "zh-CN"),
        ("en; q=0.8", "en"),
        ("*", "zh-CN"),
        ("en;q=much", "zh-CN"),
        ("en;q=nan", "zh-CN"),
        (";;;,,,=", "zh-CN"),
        ("x," * 10_000 + "en", "zh-CN"),
        ("\ud800en", "zh-CN"),
    ],
)
def test_the_language_is_what_the_header_prefers_of_what_we_have(asked: str | None, locale: Locale) -> None:
    assert negotiate(asked) == locale


async def test_a_problem_is_answered_in_the_language_asked_for(databases: Databases) -> None:
    async with run_service(SERVICE, databases) as toy:
        for language, locale in (("en", "en"), ("zh-CN", "zh-CN"), ("fr", "zh-CN")):
            answer = await toy.get("/secret", headers={"Accept-Language": language})
            assert answer.status_code == 401
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert answer.headers["Content-Language"] == locale
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert answer.json()["title"] == refusal_text(Unauthenticated, locale)["title"]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("body", "field", "english", "chinese"),
    [
        ({}, "body.said", "required", "必填"),
        ({"said": 3}, "body.said", "text", "文本"),
        ({"said": ""}, "body.said", "at least 1 character(s)", "1"),
        ({"said": " "}, "body.said", "at least 1 character(s)", "1"),
        ({"said": "x" * 201}, "body.said", "at most 200 characters", "200"),
        ({"said": "a\u0000b"}, "body.said", "text without control characters", "控制字符"),
        ({"said": "a", "times": 0}, "body.times", "1 or more", "1"),
        ({"said": "a", "times": 2**31}, "body.times", "2147483647 or less", "2147483647"),
        ({"said": "a", "times": "many"}, "body.times", "a whole number", "整数"),
        ({"said": "a", "by": "me"}, "body.by", "no such field", "没有"),
        ([], "body", "an object", "对象"),
    ],
)
async def test_bad_input_names_the_field_and_what_was_expected(
    databases: Databases, body: object, field: str, english: str, chinese: str
) -> None:
    async with run_service(SERVICE, databases) as toy:
        for language, expected in (("en", english), ("zh-CN", chinese)):
            answer = await toy.post("/notes", person=Person(), json=body, headers={"Accept-Language": language})
            assert (answer.status_code, answer.json()["type"]) == (422, "urn:linli:problem:invalid_input")
            [error] = answer.json()["errors"]
            assert error["field"] == field
            assert expected in error["expected"]


def test_an_exception_amounts_to_a_refusal() -> None:
    assert understand(NotFound()).status == 404
    assert understand(ConnectionRefusedError()).type == "unavailable"
    assert understand(PoolTimeoutError()).type == "unavailable"
    assert understand(KeyError("a")).type == "internal"


def test_a_text_keeps_what_it_is_given_as_it_is() -> None:
    problem = InvalidInput(("body.{x}", "literal_error", {"expected": "{y} %s"})).problem("en")
    assert problem["errors"] == [{"field": "body.{x}", "expected": "one of {y} %s"}]
    assert "body.{x}" in problem["detail"]
