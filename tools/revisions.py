"""Revisions expand before they contract, so that two releases can share a database: a check of all revision files.

    python -m tools.revisions

The release before a revision runs on while it is applied, and after it if one goes back. So `upgrade` takes nothing
away that it uses, demands nothing that it does not write, and locks no table for as long as it takes to read it. What
a revision does all the same, it says why:

    CONTRACTS = "what goes has been unused since release 2026.11"
    LOCKS = "the table is small: a row per rule"
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CONTRACTS, LOCKS = "CONTRACTS", "LOCKS"
# Operations of Alembic by what they do to the release before, or to a table with many rows.
TAKES_AWAY = {"drop_table": "drops a table", "drop_column": "drops a column", "rename_table": "renames a table"}
READS_ALL = {
    "create_check_constraint": "checks every row",
    "create_foreign_key": "checks every row",
    "create_unique_constraint": "builds an index",
    "create_exclude_constraint": "builds an index",
    "create_primary_key": "builds an index",
}
SQL = (
    (CONTRACTS, r"\bDROP\s+TABLE\b", "drops a table"),
    (CONTRACTS, r"\bDROP\s+COLUMN\b", "drops a column"),
    (CONTRACTS, r"\bALTER\s+TABLE\b[^;]*\bRENAME\b", "renames"),
    (CONTRACTS, r"\bSET\s+NOT\s+NULL\b", "demands a value"),
    (CONTRACTS, r"\bALTER\s+(COLUMN\s+)?\w+\s+(SET\s+DATA\s+)?TYPE\b", "changes a type"),
    (LOCKS, r"\bCREATE\s+(UNIQUE\s+)?INDEX\s+(?!CONCURRENTLY)", "builds an index"),
    (LOCKS, r"\bADD\s+CONSTRAINT\b(?![^;]*NOT\s+VALID)", "checks every row"),
    (LOCKS, r"\bLOCK\s+TABLE\b", "locks a table"),
    (LOCKS, r"\bCREATE\s+(CONSTRAINT\s+)?TRIGGER\b", "locks a table"),
)


@dataclass(frozen=True)
class Finding:
    """One thing that a revision does to whoever shares its database; `needs` is the name with which it says why."""

    line: int
    what: str
    needs: str


def findings(source: str) -> list[Finding]:
    """What the revision does without saying why."""
    module = ast.parse(source)
    constants = _constants(module)
    if "down_revision" not in constants:
        return []  # the first one: nobody shares its database yet
    reasons = {name for name in (CONTRACTS, LOCKS) if constants.get(name, "").strip()}
    upgrade = next(node for node in module.body if isinstance(node, ast.FunctionDef) and node.name == "upgrade")
    found = [*_in_operations(upgrade), *_in_sql(upgrade, constants)]
    return [one for one in found if one.needs not in reasons]


def _constants(module: ast.Module) -> dict[str, str]:
    """What stands at the top of the file, as text; a name with None is left out."""
    found: dict[str, str] = {}
    for node in module.body:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        text = _text(node.value) or ast.unparse(node.value)
        if isinstance(target, ast.Name) and text != "None":
            found[target.id] = text
    return found


def _in_operations(upgrade: ast.FunctionDef) -> Iterator[Finding]:
    calls = [node for node in ast.walk(upgrade) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    new = {_text(call.args[0]) for call in calls if _name(call) == "create_table" and call.args}
    for call in calls:
        name, given = _name(call), {keyword.arg: keyword.value for keyword in call.keywords}
        if name in TAKES_AWAY:
            yield Finding(call.lineno, TAKES_AWAY[name], CONTRACTS)
        elif name == "alter_column" and {"new_column_name", "type_"} & given.keys():
            yield Finding(call.lineno, "renames a column or changes its type", CONTRACTS)
        elif name == "alter_column" and _is_false(given.get("nullable")):
            yield Finding(call.lineno, "demands a value", CONTRACTS)
        elif name == "add_column" and _demands_value(call):
            yield Finding(call.lineno, "adds a column that demands a value", CONTRACTS)
        elif name == "create_index" and _table(call, given) not in new and "postgresql_concurrently" not in given:
            yield Finding(call.lineno, "builds an index", LOCKS)
        elif name in READS_ALL and _table(call, given) not in new:
            yield Finding(call.lineno, READS_ALL[name], LOCKS)


def _in_sql(upgrade: ast.FunctionDef, constants: dict[str, str]) -> Iterator[Finding]:
    for node in ast.walk(upgrade):
        text = constants.get(node.id, "") if isinstance(node, ast.Name) else _text(node)
        for needs, pattern, what in SQL:
            if re.search(pattern, text, re.IGNORECASE):
                yield Finding(getattr(node, "lineno", upgrade.lineno), what, needs)


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def _text(node: ast.AST | None) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _table(call: ast.Call, given: dict[str | None, ast.expr]) -> str:
    """Its second argument, after the name of what is made."""
    return _text(given.get("table_name") or (call.args[1] if len(call.args) > 1 else None))


def _is_false(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


def _demands_value(call: ast.Call) -> bool:
    column = next((argument for argument in call.args if isinstance(argument, ast.Call)), None)
    given = {keyword.arg: keyword.value for keyword in column.keywords} if column else {}
    return _is_false(given.get("nullable")) and "server_default" not in given and "identity" not in given


def main() -> int:
    """Check every service's revisions; 1 when one does something without saying why."""
    bad = 0
    for path in sorted(Path("services").glob("*/migrations/*.py")):
        for one in findings(path.read_text(encoding="utf-8")):
            print(f"{path}:{one.line}: {one.what}: say why in {one.needs} (tools/revisions.py)")
            bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
