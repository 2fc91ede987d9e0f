"""What docs/operations.md tells somebody to type or to look at is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chassis.settings import Settings
from deploy.secrets import make_secrets
from deploy.services import SERVICES

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
COMPOSE = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("docker-compose*.yml"))


def missing_targets(page: str) -> set[str]:
    # In code only: `make …`, or at the beginning of a line of a block.
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", page, re.MULTILINE))
    return named - set(re.findall(r"^([a-z-]+):.*##", MAKEFILE, re.MULTILINE))


def missing_settings(page: str) -> set[str]:
    named = {name.removeprefix("LINLI_").lower() for name in re.findall(r"LINLI_[A-Z_]+", page)}
    return {name for name in named if name not in Settings.model_fields and f"LINLI_{name.upper()}" not in MAKEFILE}


def missing_variables(page: str) -> set[str]:
    named = set(re.findall(r"\b([A-Z]{2,})=", page))
    # A variable given to make reaches what it runs; those that only that reads stand in the target's help.
    told = f"{COMPOSE}\n{MAKEFILE}"
    return {name for name in named if not re.search(rf"\$[({{]{name}\b|\b{name}=", told)}


def missing_files(page: str) -> set[str]:
    linked = {ROOT / "docs" / target for target in re.findall(r"\]\(([^)#]+)\)", page) if "://" not in target}
    named = {
        ROOT / name for name in re.findall(r"`((?:deploy|services|docs|tools)/[\w./*-]+|docker-compose\.yml)`", page)
    }
    return {str(path) for path in linked | named if not list(ROOT.glob(str(path.resolve().relative_to(ROOT))))}


def missing_tables(page: str) -> set[str]:
    there = {table for service in SERVICES for table in service.metadata.tables}
    return set(re.findall(r"FROM (\w+)", page)) - there


def missing_services(page: str) -> set[str]:
    named = set(re.findall(r"docker compose (?:logs|exec|run --rm) ([a-z]+)", page))
    named |= set(re.findall(r"(?:PART=|--scale )(\w+)", page))
    return {name for name in named if name and not re.search(rf"^  {name}:", COMPOSE, re.MULTILINE)}


@pytest.mark.parametrize(
    "missing",
    [missing_targets, missing_settings, missing_variables, missing_files, missing_tables, missing_services],
    ids=lambda check: check.__name__,
)
def test_what_it_names_is_there(missing) -> None:
    assert missing(PAGE) == set()


def test_the_secrets_it_names_are_made(tmp_path: Path) -> None:
    made = make_secrets(tmp_path, "production")
    [section] = re.findall(r"^## Secrets$.*?(?=^## )", PAGE, re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"(?:secrets/|`)([a-z]+_(?:database_url|amqp_url|\w+_key|\w*password|\w+_keys))\b", section))
    assert len(named) > 8
    assert named <= made.keys()


@pytest.mark.parametrize(
    ("missing", "page"),
    [
        (missing_targets, "give `make coffee`"),
        (missing_settings, "set `LINLI_COFFEE`"),
        (missing_variables, "make up COFFEE=1"),
        (missing_files, "[see](coffee.md)"),
        (missing_tables, "SELECT 1 FROM coffee"),
        (missing_services, "PART=points docker compose logs coffee"),
    ],
    ids=lambda given: getattr(given, "__name__", None),
)
def test_control_what_is_not_there_is_seen(missing, page: str) -> None:
    assert len(missing(page)) == 1
