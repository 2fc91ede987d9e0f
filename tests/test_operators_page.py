"""The operators' page: it runs no script but its own, speaks both languages, and asks only what the API has."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest

from chassis.settings import SERVICE_NAMES
from deploy.services import SERVICES
from gateway.operate import FOLDER, operators_page
from gateway.routes import RoutingTable, load_document
from tests.doors import door

HTML = (FOLDER / "page.html").read_text(encoding="utf-8")
JS = (FOLDER / "page.js").read_text(encoding="utf-8")
CATALOGUES: dict[str, dict[str, str]] = {
    name: json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8")) for name in ("en", "zh-CN")
}


def spoken() -> set[str]:
    """Every key of a text that page and script ask for."""
    from_data = {key for service in SERVICES for key in (figure.name for figure in service.figures)}
    states = {"ready", "unavailable", "trouble"}
    return {*re.findall(r'data-text="(\w+)"', HTML), *re.findall(r'\bsay\("(\w+)"', JS), *from_data, *states}


async def test_the_gateway_serves_it_under_a_policy_that_allows_its_own_files_only() -> None:
    transport = httpx.ASGITransport(door({}))
    async with httpx.AsyncClient(transport=transport, base_url="http://linli") as client:
        for path in operators_page():
            answer = await client.get(path)
            assert answer.status_code == 200
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert (await client.get("/operate/__init__.py")).status_code == 404
        assert (await client.get("/operate/page.html")).status_code == 404


def test_it_has_no_script_and_no_style_inline() -> None:
    assert re.findall(r"<script(?![^>]*\bsrc=)", HTML) == []
    assert re.findall(r"<style|\bstyle=|\bon\w+=", HTML) == []
    assert re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b", JS) == []
    assert re.findall(r"localStorage|sessionStorage|document\.cookie", JS) == [], "tokens stay in the page"


@pytest.mark.parametrize("language", CATALOGUES)
def test_every_text_is_there_in_each_language(language: str) -> None:
    assert spoken() - CATALOGUES[language].keys() == set()
    assert CATALOGUES[language].keys() == CATALOGUES["en"].keys()
    placeholders: Any = {key: set(re.findall(r"\{\w+\}", text)) for key, text in CATALOGUES["en"].items()}
    assert placeholders == {key: set(re.findall(r"\{\w+\}", text)) for key, text in CATALOGUES[language].items()}


def test_what_it_asks_is_in_the_api() -> None:
    assert json.loads(re.findall(r"const SERVICES = (\[.*\]);", JS)[0]) == list(SERVICE_NAMES)
    table = RoutingTable(load_document())
    asked = re.findall(r'api\("(\w+)", [`"]([^`"?]*)', JS)
    assert len(asked) >= 5
    for method, path in asked:
        if not path.startswith("${path}"):
            for name in SERVICE_NAMES:
                full = "/api/v1" + re.sub(r"\$\{(\w+\.)?(name|service)\}", name, path)
                assert table.match(method, full).service == name or "services" not in path
    for name in SERVICE_NAMES:
        for path in ("replay", "discard"):
            assert table.match("POST", f"/api/v1/services/{name}/dead-letters/{path}").policy == "roles:operator"
