"""The borders between the parts, beyond what types and lints can see."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import contracts
from chassis.service import Service
from contracts.event import EVENT_TYPES

ROOT = Path(__file__).resolve().parent.parent
SERVICES = ["members", "catalog", "orders", "points", "notify"]

for module in pkgutil.iter_modules(contracts.__path__):
    importlib.import_module(f"contracts.{module.name}")

PRODUCERS = {kind.__name__: kind.producer() for kind in EVENT_TYPES.values()}


def service(name: str) -> Service:
    found: Service = importlib.import_module(f"services.{name}.app").SERVICE
    return found


def sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def calls(text: str) -> Iterator[tuple[str, int]]:
    """The last name of everything that is called, and its line."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", None) or getattr(node.func, "id", None)
            if name:
                yield name, node.lineno


def foreign_facts(text: str, owner: str) -> set[str]:
    """Facts of other producers that the source makes."""
    return {name for name, _ in calls(text) if PRODUCERS.get(name, owner) != owner}


def commits(text: str) -> list[int]:
    return [line for name, line in calls(text) if name in {"commit", "begin_nested", "rollback"}]


def test_imports_keep_to_the_borders() -> None:
    lint = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([lint, "--no-logo", "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_listens_only_to_facts_that_are_declared(name: str) -> None:
    handlers = service(name).handlers
    assert {kind for kind in handlers if EVENT_TYPES.get(kind.type) is not kind} == set()
    assert {kind.producer() for kind in handlers} <= set(SERVICES)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_tells_only_its_own_facts(name: str) -> None:
    found = {path: foreign_facts(path.read_text(encoding="utf-8"), name) for path in sources(f"services/{name}")}
    assert {str(path): facts for path, facts in found.items() if facts} == {}


def superseded() -> set[str]:
    """Contracts of which there is a later version: they are there for what an earlier release told."""
    version = {kind: kind.type.rpartition(".v") for kind in EVENT_TYPES.values()}
    newest: dict[str, int] = {}
    for name, _, number in version.values():
        newest[name] = max(newest.get(name, 0), int(number))
    return {kind.__name__ for kind, (name, _, number) in version.items() if int(number) < newest[name]}


def test_every_fact_is_told_by_somebody() -> None:
    told = {name for path in sources("services") for name, _ in calls(path.read_text(encoding="utf-8"))}
    named = {
        node.id
        for path in sources("services")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Name)
    }
    assert set(PRODUCERS) - told - named == superseded()


def test_control_a_foreign_fact_is_seen() -> None:
    assert foreign_facts("emit(session, ClaimAccepted(claim_id=1), sequence=1)", "points") == {"ClaimAccepted"}
    assert foreign_facts("emit(session, orders.ClaimAccepted(), sequence=1)", "points") == {"ClaimAccepted"}
    assert foreign_facts("emit(session, ClaimAccepted(), sequence=1)", "orders") == set()


def test_only_the_transaction_block_commits() -> None:
    found = {path: commits(path.read_text(encoding="utf-8")) for path in sources("services", "gateway")}
    assert {str(path): lines for path, lines in found.items() if lines} == {}
    assert commits("await session.commit()") == [1], "the check sees one"


def test_the_name_of_a_fact_is_used_once() -> None:
    names = Counter(kind.__name__ for kind in EVENT_TYPES.values())
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_says_what_it_owns_emits_and_consumes(name: str) -> None:
    words = (importlib.import_module(f"services.{name}").__doc__ or "").lower()
    assert [word for word in ("owns", "emits", "consumes") if word not in words] == []
    assert service(name).name == name
