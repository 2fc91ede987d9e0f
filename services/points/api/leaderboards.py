"""Routes: leaderboards."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Query

from chassis.api import PAGE_DEFAULT, PAGE_MAX, Api, Db
from chassis.auth import PUBLIC, OptionalPrincipal
from services.points.models import ScoreKind, SubjectType
from services.points.scores import current_season, rank_of, top
from services.points.views import LeaderboardItemView, LeaderboardRankView, LeaderboardView

SEASON_MIN, SEASON_MAX = 2000, 2100

api = Api("points")


@api.get("/leaderboards", policy=PUBLIC, openapi_extra={"x-linli-compose": "names"})
async def read_leaderboard(
    db: Db,
    principal: OptionalPrincipal,
    area_id: UUID,
    season: Annotated[int | None, Query(ge=SEASON_MIN, le=SEASON_MAX, description="Default: the current one")] = None,
    kind: ScoreKind = "member_points",
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = PAGE_DEFAULT,
) -> LeaderboardView:
    """The best of a season in an area and all below it, and with a token the caller's own place."""
    async with db.transaction() as session:
        current = await current_season(session, area_id)
        season = season or current
        best = await top(session, season, area_id, kind, limit)
        mine = await rank_of(session, season, area_id, kind, principal.person_id) if principal else None
    subject_type: SubjectType = "organisation" if kind == "organisation_energy" else "person"
    return LeaderboardView(
        area_id=area_id,
        season=season,
        kind=kind,
        items=[
            LeaderboardItemView(rank=item.rank, subject_id=item.subject_id, subject_type=subject_type, score=item.score)
            for item in best
        ],
        me=LeaderboardRankView(rank=mine.rank, score=mine.score) if mine else None,
    )
