"""What members forgets: challenges, sign-ins, counted tries and addresses that nothing can come of any more."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import delete, or_
from sqlalchemy.ext.asyncio import AsyncSession

from services.members.familiar import forget_old_addresses
from services.members.sign_in_models import Challenge, RefreshToken, SignIn
from services.members.tries import forget_old_tries

HOUSEKEEPING_S = 3600
# Longer than the widest cap on codes looks back.
KEEP_CHALLENGES = timedelta(days=2)
KEEP_ENDED_SIGN_INS = timedelta(days=1)


async def forget_old_sign_in_data(session: AsyncSession, now: datetime) -> None:
    """Delete it; a refresh token that is gone is refused like one that has expired."""
    await session.execute(delete(Challenge).where(Challenge.created_at < now - KEEP_CHALLENGES))
    await forget_old_tries(session, now)
    await forget_old_addresses(session, now)
    await session.execute(delete(RefreshToken).where(RefreshToken.expires_at < now))
    over = or_(SignIn.expires_at < now, SignIn.ended_at < now - KEEP_ENDED_SIGN_INS)
    await session.execute(delete(SignIn).where(over))
