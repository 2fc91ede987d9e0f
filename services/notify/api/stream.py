"""Route of a person's live stream (server-sent events)."""

from __future__ import annotations

from collections.abc import AsyncIterable
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import Depends, Header, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from sqlalchemy import Row

from chassis.api import Api, Db
from chassis.auth import SIGNED_IN, CurrentPrincipal
from chassis.errors import Unauthenticated
from chassis.i18n import Locale
from chassis.service import Runtime
from chassis.tokens import Principal
from services.notify.api.messages import AcceptLanguage
from services.notify.messages import reading_locale
from services.notify.parts import NotifyParts
from services.notify.streams import follow, start_position
from services.notify.wording import Wording

SEQUENCE_MAX = 2**63 - 1
RECONNECT_MS = 2000

api = Api("messages")

LastSeen = Annotated[int | None, Header(alias="Last-Event-ID", ge=0, le=SEQUENCE_MAX)]
LastSeenQuery = Annotated[int | None, Query(ge=0, le=SEQUENCE_MAX)]


async def _position(
    db: Db, principal: CurrentPrincipal, header: LastSeen = None, last_event_id: LastSeenQuery = None
) -> int:
    """Found before the answer begins, so that what goes wrong here is still answered as a problem."""
    async with db.transaction() as session:
        last_seen = header if header is not None else last_event_id
        return await start_position(session, principal.person_id, last_seen)


async def _reading_locale(db: Db, principal: CurrentPrincipal, accept_language: AcceptLanguage) -> Locale:
    async with db.transaction() as session:
        return await reading_locale(session, principal.person_id, accept_language)


async def _runtime(request: Request) -> Runtime:
    runtime: Runtime = request.app.state.runtime
    return runtime


@api.get("/me/stream", policy=SIGNED_IN, response_class=EventSourceResponse)
async def stream_my_news(
    principal: CurrentPrincipal,
    runtime: Annotated[Runtime, Depends(_runtime)],
    parts: NotifyParts,
    position: Annotated[int, Depends(_position)],
    locale: Annotated[Locale, Depends(_reading_locale)],
) -> AsyncIterable[ServerSentEvent]:
    """My messages, points and status changes as they come, without gaps from `Last-Event-ID` on.

    Without it, from now on. It ends with the event `bye` when the token does, or when the server stops: come again
    with a fresh token and the last id.
    """
    yield ServerSentEvent(comment="hello", id=str(position), retry=RECONNECT_MS)
    news = follow(runtime.db, parts.wakes, principal.person_id, position, lambda: _is_open(runtime, principal))
    async with aclosing(news) as batches:
        async for items in batches:
            for item in items:
                yield ServerSentEvent(id=str(item.seq), event=item.kind, data=_data(item, parts.wording, locale))
    yield ServerSentEvent(event="bye", data={})


def _is_open(runtime: Runtime, principal: Principal) -> bool:
    """Whether the token still holds and the process does not want to stop."""
    if runtime.stopping.is_set() or runtime.world.now() >= principal.expires_at:
        return False
    try:
        runtime.cutoffs.check(principal)
    except Unauthenticated:
        return False
    return True


def _data(item: Row[Any], wording: Wording, locale: Locale) -> dict[str, Any]:
    if item.kind != "message":
        data: dict[str, Any] = item.data
        return data
    key, params = item.data["template"], item.data["params"]
    return {
        "id": item.data["id"],
        "template": key,
        "title": wording.render(locale, key, "title", params),
        "body": wording.render(locale, key, "body", params),
    }
