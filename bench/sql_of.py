"""The SQL that a use case really executes, as a script for pgbench."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import event

from chassis.db import Database

PLACEHOLDER = re.compile(r"\$(\d+)")


@asynccontextmanager
async def captured(db: Database) -> AsyncIterator[list[str]]:
    """The statements executed within the block, their values in them."""
    statements: list[str] = []

    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        values = list(parameters)
        statements.append(PLACEHOLDER.sub(lambda found: _literal(values[int(found[1]) - 1]), statement))

    event.listen(db.engine.sync_engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(db.engine.sync_engine, "before_cursor_execute", note)


def script(statement: str, folder: Path, *, replace: UUID | None = None, by: str = "", head: str = "") -> Path:
    """A file for pgbench; the literal of one id may give way to an expression."""
    if replace is not None:
        statement = statement.replace(_literal(replace), by)
    file = folder / "statement.sql"
    file.write_text(f"{head}\n{statement};\n", encoding="utf-8")
    return file


def _literal(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list | tuple):
        return "'{" + ",".join(map(str, value)) + "}'"
    return "'" + str(value).replace("'", "''") + "'"
