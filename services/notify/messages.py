"""Each person's inbox: read it, mark what was read."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.db import world_of
from chassis.errors import NotFound
from chassis.i18n import Locale, negotiate
from services.notify.models import Message, Person
from services.notify.wording import known_locale


async def inbox_page(
    session: AsyncSession, person_id: UUID, *, unread: bool, before: UUID | None, limit: int
) -> Sequence[Message]:
    """The person's messages, newest first, one more than `limit` if there are more."""
    mine = select(Message).where(Message.person_id == person_id).order_by(Message.id.desc()).limit(limit + 1)
    if unread:
        mine = mine.where(Message.read_at.is_(None))
    if before is not None:
        mine = mine.where(Message.id < before)
    return (await session.scalars(mine)).all()


async def mark_read(session: AsyncSession, person_id: UUID, message_id: UUID) -> None:
    """Note when the person first read the message; NotFound when it is nobody's or another's."""
    now = world_of(session).now()
    mine = update(Message).where(Message.id == message_id, Message.person_id == person_id)
    found = await session.scalar(mine.values(read_at=func.coalesce(Message.read_at, now)).returning(Message.id))
    if found is None:
        raise NotFound()


async def reading_locale(session: AsyncSession, person_id: UUID, accept_language: str | None) -> Locale:
    """The language to show messages in: the one this request asks for, else the person's own."""
    if accept_language is not None:
        return negotiate(accept_language)
    return known_locale(await session.scalar(select(Person.locale).where(Person.id == person_id)))
