"""Dead letters: the events that a service gave up on, for operators to look at, replay or discard.

They are the rows of `parked` in state `dead`. A replay makes them due again, so that they are handled as at their first
arrival, through the inbox: one that had its effect meanwhile has no second one. A discarded one stays for
`KEEP_DISCARDED`, with the reason, and is no longer tried. Who did it is in the audit. What a person's erasure or rights
depend on (`REPLAYED_ONLY`) cannot be discarded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, NoReturn
from uuid import UUID

from sqlalchemy import ColumnElement, Row, and_, case, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from chassis import audit
from chassis.cutoffs import Cutoffs
from chassis.db import world_of
from chassis.errors import InvalidInput, NotFound, Refusal
from chassis.parked import UNREADABLE
from chassis.tables import parked
from contracts.event import Event
from contracts.members import AreaChanged, PersonErased

ParkedState = Literal["retry", "dead", "discarded"]

# For one call: what a replay makes due, a discard closes.
SELECTED_MAX = 1_000
REPLAYED_PER_SECOND = 50
KEEP_DISCARDED = timedelta(days=90)
# Without them a service would keep what it holds about somebody who left, or let in whoever has no right any more.
REPLAYED_ONLY: tuple[type[Event], ...] = (PersonErased, AreaChanged, *Cutoffs.LISTENS_TO)


class ReplayedOnly(Refusal):
    """409: among the letters is one whose event must have its effect; nothing was discarded."""

    type = "replayed_only"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which dead letters: those named, or those that have a fingerprint in common."""

    event_ids: Sequence[UUID] | None
    fingerprint: str | None

    def condition(self) -> ColumnElement[bool]:
        """Of the dead ones; InvalidInput where it names neither or both."""
        if (self.event_ids is None) == (self.fingerprint is None):
            _refuse_selection()
        which = parked.c.event_id.in_(self.event_ids or ()) if self.event_ids else _alike(self.fingerprint)
        return and_(parked.c.state == "dead", which)


def _alike(fingerprint: str | None) -> ColumnElement[bool]:
    return parked.c.fingerprint == fingerprint


def _refuse_selection() -> NoReturn:
    raise InvalidInput(("body", "selection", {}))


async def list_groups(session: AsyncSession) -> Sequence[Row[Any]]:
    """What is dead, by fingerprint, the most numerous first, with an example of each."""
    newest = func.max(parked.c.parked_at)
    return (
        await session.execute(
            select(
                parked.c.fingerprint,
                parked.c.type,
                func.min(parked.c.cause).label("cause"),
                func.count().label("letters"),
                func.min(parked.c.parked_at).label("oldest"),
                newest.label("newest"),
            )
            .where(parked.c.state == "dead")
            .group_by(parked.c.fingerprint, parked.c.type)
            .order_by(func.count().desc(), newest.desc())
            .limit(SELECTED_MAX)
        )
    ).all()


async def list_letters(
    session: AsyncSession, *, state: ParkedState, fingerprint: str | None, after: int | None, limit: int
) -> Sequence[Row[Any]]:
    """Parked events in a state, oldest first, without their documents."""
    columns = [column for column in parked.c if column is not parked.c.document]
    query = select(*columns).where(parked.c.state == state).order_by(parked.c.id).limit(limit)
    if fingerprint is not None:
        query = query.where(_alike(fingerprint))
    if after is not None:
        query = query.where(parked.c.id > after)
    return (await session.execute(query)).all()


async def get_letter(session: AsyncSession, event_id: UUID) -> Row[Any]:
    """One parked event with its document; NotFound."""
    row = (await session.execute(select(parked).where(parked.c.event_id == event_id))).one_or_none()
    if row is None:
        raise NotFound()
    return row


async def count_letters(session: AsyncSession, selection: Selection) -> int:
    """How many a replay or discard would be about."""
    counted = await session.scalar(select(func.count()).select_from(parked).where(selection.condition()))
    return min(counted or 0, SELECTED_MAX)


async def replay(session: AsyncSession, actor: UUID, selection: Selection, per_second: int) -> int:
    """Make the letters due again, oldest first, so many a second; returns how many, `SELECTED_MAX` at most."""
    ids = await _take(session, selection)
    now = world_of(session).now()
    if ids:
        turns = {row_id: now + timedelta(seconds=turn // per_second) for turn, row_id in enumerate(ids)}
        again = update(parked).where(parked.c.id.in_(ids)).returning(parked.c.event_id)
        replayed = await session.scalars(
            again.values(state="retry", attempts=0, next_at=case(turns, value=parked.c.id), reason=None)
        )
        for event_id in replayed:
            audit.note(session, actor, "replay_dead_letter", event_id)
    return len(ids)


async def discard(session: AsyncSession, actor: UUID, selection: Selection, reason: str) -> int:
    """Close the letters for good; returns how many, `SELECTED_MAX` at most; ReplayedOnly."""
    ids = await _take(session, selection)
    await require_discardable(session, parked.c.id.in_(ids))
    forgotten_at = world_of(session).now() + KEEP_DISCARDED
    closed = update(parked).where(parked.c.id.in_(ids)).returning(parked.c.event_id)
    for event_id in await session.scalars(closed.values(state="discarded", reason=reason, next_at=forgotten_at)):
        audit.note(session, actor, "discard_dead_letter", event_id)
    return len(ids)


async def require_discardable(session: AsyncSession, which: ColumnElement[bool]) -> None:
    """Raise ReplayedOnly where one of these rows is not for an operator to close."""
    # What the bus gave up was buried unread: its document says what it is.
    buried = [parked.c.document.contains(f'"type":"{kind.type}"', autoescape=True) for kind in REPLAYED_ONLY]
    kept = or_(
        parked.c.type.in_([kind.type for kind in REPLAYED_ONLY]), and_(parked.c.type == UNREADABLE, or_(*buried))
    )
    event_id = await session.scalar(select(parked.c.event_id).where(which, kept).limit(1))
    if event_id is not None:
        raise ReplayedOnly(event_id=event_id)


async def _take(session: AsyncSession, selection: Selection) -> Sequence[int]:
    chosen = select(parked.c.id).where(selection.condition()).order_by(parked.c.id).limit(SELECTED_MAX)
    return (await session.scalars(chosen.with_for_update())).all()


async def forget_discarded(session: AsyncSession, now: datetime) -> None:
    """Delete what was discarded `KEEP_DISCARDED` ago."""
    await session.execute(delete(parked).where(parked.c.state == "discarded", parked.c.next_at < now))
