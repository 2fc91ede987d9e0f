"""Scores and leaderboards: what each subject won in a season, in every area on the path of where it was won.

Kept in the transaction of the awards and reversals; spending does not lower a score.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import BigInteger, Integer, Table, Text, Uuid, delete, func, select, true, tuple_
from sqlalchemy.dialects.postgresql import ARRAY, Insert, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.types import TypeEngine

from chassis import scopes
from chassis.arrays import array_literal, arrays, rows_of
from chassis.db import world_of
from chassis.tables import timestamp
from contracts.points import Asset
from services.points.models import Score, ScoreCount, ScoreKind, SubjectType
from services.points.postings import Posting

KINDS: dict[tuple[SubjectType, Asset], ScoreKind] = {
    ("person", "points"): "member_points",
    ("person", "energy"): "member_energy",
    ("organisation", "energy"): "organisation_energy",
}


@dataclass(frozen=True, slots=True)
class Ranked:
    """A subject's place: one more than how many have a higher score."""

    subject_id: UUID
    rank: int
    score: int


_CHANGE: dict[str, TypeEngine[Any]] = {
    "subject_id": Uuid(),
    "season": Integer(),
    "areas": ARRAY(Uuid),
    "kind": Text(),
    "score": BigInteger(),
    "reached_at": timestamp,
}
_KEY = ("season", "area_id", "kind", "subject_id")


def _add_changes() -> Insert:
    """Each change in every area on its path.

    Grouped, since a statement changes a row once: a subject may win several times, and two paths share ancestors.
    """
    change = rows_of(_CHANGE)
    area = func.unnest(change.c.areas).table_valued("id").render_derived().lateral()
    key = (change.c.season, area.c.id, change.c.kind, change.c.subject_id)
    totals = (func.sum(change.c.score), func.max(change.c.reached_at))
    won = select(*key, *totals).select_from(change.join(area, true())).group_by(*key)
    added = insert(cast(Table, Score.__table__)).from_select([*_KEY, "score", "reached_at"], won)
    later = func.greatest(Score.reached_at, added.excluded.reached_at)
    return added.on_conflict_do_update(
        index_elements=_KEY, set_={"score": Score.score + added.excluded.score, "reached_at": later}
    )


_ADD = _add_changes()


async def record_scores(session: AsyncSession, posted: Iterable[tuple[Posting, datetime]]) -> None:
    """Add what each posting won (or lost) to the scores of its place; the time is that of its fact."""
    changes = [
        (posting.subject.id, place.season, array_literal(place.areas), kind, posting.amount, told_at)
        for posting, told_at in posted
        if (kind := KINDS.get((posting.subject.type, posting.asset))) and (place := posting.place)
    ]
    if changes:
        await session.execute(_ADD, arrays(tuple(_CHANGE), changes))


async def current_season(session: AsyncSession, area_id: UUID) -> int:
    """The calendar year in the area's time zone; NotArrived for an area not known here."""
    zone = await scopes.timezone_of(session, area_id)
    return world_of(session).now().astimezone(zone).year


async def top(session: AsyncSession, season: int, area_id: UUID, kind: ScoreKind, limit: int) -> Sequence[Ranked]:
    """The best, in order of score, who reached it first, id."""
    order = (Score.score.desc(), Score.reached_at, Score.subject_id)
    best = (
        select(Score.subject_id, Score.score, Score.reached_at)
        .where(Score.season == season, Score.area_id == area_id, Score.kind == kind, Score.score > 0)
        .order_by(*order)
        .limit(limit)
        .subquery()
    )
    # Ranks among the first rows are ranks among all: nobody outside has a higher score.
    rank = func.rank().over(order_by=best.c.score.desc())
    rows = await session.execute(
        select(best.c.subject_id, rank.label("rank"), best.c.score).order_by(
            best.c.score.desc(), best.c.reached_at, best.c.subject_id
        )
    )
    return [Ranked(row.subject_id, row.rank, row.score) for row in rows]


async def rank_of(
    session: AsyncSession, season: int, area_id: UUID, kind: ScoreKind, subject_id: UUID
) -> Ranked | None:
    """One subject's place, or None for one without a score. It costs the different scores above, not the subjects."""
    own = await session.scalar(
        select(Score.score).where(
            Score.season == season, Score.area_id == area_id, Score.kind == kind, Score.subject_id == subject_id
        )
    )
    if own is None or own <= 0:
        return None
    higher = select(func.sum(ScoreCount.subjects)).where(
        ScoreCount.season == season, ScoreCount.area_id == area_id, ScoreCount.kind == kind, ScoreCount.score > own
    )
    return Ranked(subject_id, 1 + int(await session.scalar(higher) or 0), own)


async def forget_empty_counts(session: AsyncSession) -> None:
    """Delete the counts of scores that nobody has any more. What an award changes just now stays for the next time."""
    key = (ScoreCount.season, ScoreCount.area_id, ScoreCount.kind, ScoreCount.score)
    empty = select(*key).where(ScoreCount.subjects == 0).with_for_update(skip_locked=True)
    await session.execute(delete(ScoreCount).where(tuple_(*key).in_(empty), ScoreCount.subjects == 0))
