"""Many rows in one statement, a column an array: a thousand rows are bound and planned as quickly as one.

NOTED = ("event_id", "received_at")
NEW = insert_arrays(inbox, NOTED).on_conflict_do_nothing()
await session.execute(NEW, arrays(NOTED, [(event_id, now), …]))

What all rows have in common (a time, a type) is sent once: encoding the values is what costs most.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, cast

import orjson
from sqlalchemy import ColumnElement, Subquery, Table, Text, any_, bindparam, func, select
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, Insert, insert
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeEngine


def insert_arrays(into: Table | type[DeclarativeBase], columns: Sequence[str]) -> Insert:
    """`INSERT INTO … SELECT … FROM unnest(…)`, to be built once and executed with what `arrays` makes."""
    table = into if isinstance(into, Table) else cast(Table, into.__table__)
    return insert(table).from_select(columns, select(rows_of({name: table.c[name].type for name in columns})))


def rows_of(columns: Mapping[str, TypeEngine[Any]]) -> Subquery:
    """The rows that a statement is executed with, to select from.

    In a column of arrays each value is an `array_literal`: unnest would flatten an array of arrays. In a column of
    JSON each is JSON as text.
    """
    sent = {name: Text() if isinstance(kind, ARRAY | JSONB) else kind for name, kind in columns.items()}
    bound = [bindparam(_each(name), type_=ARRAY(kind)) for name, kind in sent.items()]
    each = func.unnest(*bound).table_valued(*columns).render_derived()
    values = {name: func.coalesce(each.c[name], bindparam(_all(name), type_=kind)) for name, kind in sent.items()}
    return select(
        *(
            (sql_cast(value, columns[name]) if sent[name] is not columns[name] else value).label(name)
            for name, value in values.items()
        )
    ).subquery()


def arrays(columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> dict[str, Any]:
    """Parameters for a statement with these columns; there is at least one row."""
    parameters: dict[str, Any] = {}
    for place, (name, values) in enumerate(zip(columns, zip(*rows, strict=True), strict=True)):
        # The first column's array is always whole, since it says how many rows there are; unnest fills up the others.
        shared = place > 0 and values[0] == values[-1] and values.count(values[0]) == len(values)
        parameters[_each(name)] = [] if shared else list(values)
        parameters[_all(name)] = values[0] if shared else None
    return parameters


def among(column: Any, name: str) -> ColumnElement[bool]:
    """The condition that the column has one of the values in the list that the statement is executed with as `name`.

    `in_` is another statement for each number of them.
    """
    return cast(ColumnElement[bool], column == any_(bindparam(name, type_=ARRAY(column.type))))


def wanted(**columns: Any) -> Any:
    """Rows to be joined to a table: each column is of the type of that column, and a list in the execution by its name.

    Unlike `rows_of` a plain function of the lists, which lets the planner look each row up by an index.
    """
    lists = [bindparam(name, type_=ARRAY(column.type)) for name, column in columns.items()]
    return func.unnest(*lists).table_valued(*columns, joins_implicitly=True).render_derived()


def json(value: object) -> str:
    """A value of a column of JSON, as it is sent."""
    return orjson.dumps(value).decode()


@lru_cache(maxsize=1_000)
def array_literal(values: tuple[object, ...]) -> str:
    """An array of ids or numbers as PostgreSQL reads it from text."""
    return f"{{{','.join(map(str, values))}}}"


def _each(column: str) -> str:
    return f"each_{column}"


def _all(column: str) -> str:
    return f"all_{column}"
