"""What a service's tables hold about a person, declared once: from it they are exported, and erased.

    PERSONAL = Personal(
        held=[
            Held(Review, Review.author_id, erased={"text": ""}),    # the stars stay, as a fact about an id
            Held(Message, Message.person_id, erased=DELETE),        # the row goes
        ],
        end_open=end_open,
    )

What stays after an erasure are ids, amounts, times and words of ours. The id leads to nobody any more: only members
knew whose it was.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Table, delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, InstrumentedAttribute

from chassis.tables import audit_entries, idempotency_keys


class _Delete:
    """The type of `DELETE`."""


DELETE: Final = _Delete()
# Rows that tell nothing but what an id did.
STAYS: Final[Mapping[str, object]] = {}

Whose = Callable[[UUID], ColumnElement[bool]]


@dataclass(frozen=True)
class Held:
    """One table's rows about a person.

    `whose` is the column with the person's id, or a function from the id to a condition. `erased` says what becomes of
    the rows: `DELETE`, or the values that take the place of words. `hidden` columns are of no use to anybody but us
    (hashes, seals, search vectors), and not exported.
    """

    table: type[DeclarativeBase] | Table
    whose: InstrumentedAttribute[Any] | ColumnElement[Any] | Whose
    erased: Mapping[str, object] | _Delete = field(kw_only=True)
    hidden: Collection[str] = field(default=(), kw_only=True)

    @property
    def columns(self) -> Table:
        """The table itself."""
        return self.table if isinstance(self.table, Table) else self.table.__table__  # type: ignore[return-value]

    def of(self, person_id: UUID) -> ColumnElement[bool]:
        """The condition that a row is about this person."""
        if isinstance(self.whose, ColumnElement | InstrumentedAttribute):
            return self.whose == person_id
        return self.whose(person_id)


async def nothing_open(_session: AsyncSession, _person_id: UUID) -> None:
    """For a service in which nothing of a person's is ever open."""


@dataclass(frozen=True)
class Personal:
    """What one service holds about people. `end_open` ends, before the erasure, what is going on: it is the service's
    own rule what happens to a claim or a booking whose person goes. `held` is erased in its order."""

    held: Sequence[Held]
    end_open: Callable[[AsyncSession, UUID], Awaitable[None]] = nothing_open

    @property
    def whole(self) -> Sequence[Held]:
        """With what every service holds."""
        return [*self.held, *EVERYWHERE]


def _audited(person_id: UUID) -> ColumnElement[bool]:
    return or_(audit_entries.c.subject_id == person_id, audit_entries.c.actor == str(person_id))


EVERYWHERE = (
    Held(audit_entries, _audited, erased=STAYS),
    # Copies of what was answered: what they are about is exported itself.
    Held(idempotency_keys, idempotency_keys.c.person_id, erased=DELETE, hidden={"fingerprint", "answer"}),
)


async def export_person(session: AsyncSession, personal: Personal, person_id: UUID) -> dict[str, list[dict[str, Any]]]:
    """Every row about the person, by table, in the order of their keys; tables without one are left out."""
    found: dict[str, list[dict[str, Any]]] = {}
    for held in personal.whole:
        table = held.columns
        shown = [column for column in table.columns if column.name not in held.hidden]
        rows = select(*shown).where(held.of(person_id)).order_by(*table.primary_key.columns)
        exported = [dict(row._mapping) for row in await session.execute(rows)]
        if exported:
            found.setdefault(table.name, []).extend(exported)
    return found


async def erase_rows(session: AsyncSession, personal: Personal, person_id: UUID) -> None:
    """End what is open, then delete or empty every row about the person. Doing it again does no harm."""
    await personal.end_open(session, person_id)
    await session.flush()
    for held in personal.whole:
        table = held.columns
        if isinstance(held.erased, _Delete):
            await session.execute(delete(table).where(held.of(person_id)))
        elif held.erased:
            await session.execute(update(table).where(held.of(person_id)).values(**held.erased))
    session.expire_all()
