"""Scores and leaderboards: what each subject won in a season, in every area on the path of where it was won.

Kept in the transaction of the awards and reversals; spending does not lower a score.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from chassis import scopes
from chassis.db import world_of
from contracts.points import Asset
from services.points.ledger import Posting
from services.points.models import Score, ScoreKind, SubjectType

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


async def record_scores(session: AsyncSession, posted: Iterable[tuple[Posting, datetime]]) -> None:
    """Add what each posting won (or lost) to the scores of its place; the time is that of its fact."""
    changes: dict[tuple[Any, ...], tuple[int, datetime]] = {}
    for posting, told_at in posted:
        kind = KINDS.get((posting.subject.type, posting.asset))
        if kind is None or posting.place is None:
            continue
        for area_id in posting.place.areas:
            key = (posting.place.season, area_id, kind, posting.subject.id)
            amount, reached_at = changes.get(key, (0, told_at))
            changes[key] = (amount + posting.amount, max(reached_at, told_at))
    if not changes:
        return
    rows = [
        {"season": season, "area_id": area, "kind": kind, "subject_id": subject, "score": amount, "reached_at": at}
        for (season, area, kind, subject), (amount, at) in changes.items()
    ]
    scored = insert(Score)
    added = {
        "score": Score.score + scored.excluded.score,
        "reached_at": func.greatest(Score.reached_at, scored.excluded.reached_at),
    }
    keys = ["season", "area_id", "kind", "subject_id"]
    await session.execute(scored.on_conflict_do_update(index_elements=keys, set_=added), rows)


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
    """One subject's place, or None for one without a score."""
    own = await session.get(Score, (season, area_id, kind, subject_id))
    if own is None or own.score <= 0:
        return None
    higher = select(func.count()).where(
        Score.season == season, Score.area_id == area_id, Score.kind == kind, Score.score > own.score
    )
    return Ranked(subject_id, 1 + (await session.scalar(higher) or 0), own.score)
