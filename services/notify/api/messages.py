"""Routes of a person's inbox."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query, Request
from pydantic import BaseModel

from chassis.api import Api, Db, Page, Paging, page
from chassis.auth import SIGNED_IN, CurrentPrincipal
from chassis.i18n import Locale
from services.notify.messages import inbox_page, mark_read, reading_locale
from services.notify.models import Message
from services.notify.parts import NotifyParts
from services.notify.wording import Wording

api = Api("messages")


async def _accept_language(request: Request) -> str | None:
    return request.headers.get("accept-language")


AcceptLanguage = Annotated[str | None, Depends(_accept_language)]


class MessageView(BaseModel):
    """A message in the reader's language; `template` says what it is about, for machines."""

    id: UUID
    template: str
    title: str
    body: str
    created_at: datetime
    read_at: datetime | None


@api.get("/me/messages", policy=SIGNED_IN)
async def list_my_messages(
    db: Db,
    principal: CurrentPrincipal,
    parts: NotifyParts,
    paging: Paging,
    accept_language: AcceptLanguage,
    unread: Annotated[bool, Query()] = False,
) -> Page[MessageView]:
    """My messages, newest first; `unread=true` leaves out those I have read."""
    before = paging.after_id()
    async with db.transaction() as session:
        rows = await inbox_page(session, principal.person_id, unread=unread, before=before, limit=paging.limit)
        locale = await reading_locale(session, principal.person_id, accept_language)
    shown, cursor = page(rows, paging.limit, lambda message: (message.id,))
    return Page(items=[_view(message, parts.wording, locale) for message in shown], next_cursor=cursor)


@api.post("/me/messages/{message_id}/read", policy=SIGNED_IN, status_code=204)
async def read_my_message(message_id: UUID, db: Db, principal: CurrentPrincipal) -> None:
    """Mark a message as read."""
    async with db.transaction() as session:
        await mark_read(session, principal.person_id, message_id)


def _view(message: Message, wording: Wording, locale: Locale) -> MessageView:
    return MessageView(
        id=message.id,
        template=message.template,
        title=wording.render(locale, message.template, "title", message.params),
        body=wording.render(locale, message.template, "body", message.params),
        created_at=message.created_at,
        read_at=message.read_at,
    )
