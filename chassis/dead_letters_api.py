"""The routes by which operators look at a service's dead letters, replay and discard them (`chassis.dead_letters`)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from chassis import dead_letters
from chassis.api import Api, Body, Db, Page, Paging, Words, page
from chassis.auth import CurrentPrincipal, roles
from chassis.dead_letters import REPLAYED_PER_SECOND, ParkedState, Selection

OPERATOR = roles("operator")
IDS_MAX = 100
ROW_ID_END = 2**63

Fingerprint = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]


class DeadLetterGroupView(BaseModel):
    """Dead letters of one type and, in its first line, one cause."""

    model_config = ConfigDict(from_attributes=True)

    fingerprint: str
    type: str
    cause: str
    letters: int
    oldest: datetime
    newest: datetime


class DeadLetterView(BaseModel):
    """An event that could not be handled. `next_at`: of one in retry, its next attempt; of one that was discarded, when
    it is forgotten."""

    model_config = ConfigDict(from_attributes=True)

    event_id: UUID
    type: str
    partition_key: str
    state: ParkedState
    attempts: int
    next_at: datetime
    cause: str
    fingerprint: str
    parked_at: datetime
    reason: str | None


class DeadLetterDocumentView(DeadLetterView):
    """The same with the event as it came, a CloudEvent where it could be read."""

    document: str


class Chosen(Body):
    """The letters named, or all with this fingerprint: one of the two. With `dry_run` they are only counted."""

    event_ids: Annotated[list[UUID], Field(min_length=1, max_length=IDS_MAX)] | None = None
    fingerprint: Fingerprint | None = None
    dry_run: bool = False

    def selection(self) -> Selection:
        return Selection(self.event_ids, self.fingerprint)


class DeadLetterReplay(Chosen):
    """Handle them again, so many a second."""

    per_second: Annotated[int, Field(ge=1, le=1_000)] = REPLAYED_PER_SECOND


class DeadLetterDiscard(Chosen):
    """Never handle them, and say why."""

    reason: Annotated[str, Words(500)]


class DeadLettersChosen(BaseModel):
    """How many letters it was about, or would have been."""

    letters: int
    dry_run: bool


def _row_id(key: Sequence[Any]) -> int:
    if not 0 <= (row_id := int(key[0])) < ROW_ID_END:
        raise ValueError("no row has this id")
    return row_id


def dead_letters_api(service_name: str) -> Api:
    """One service's routes; their paths name it, since the gateway knows an operation by its path."""
    api = Api("dead letters")
    base = f"/services/{service_name}/dead-letters"

    @api.get(f"/services/{service_name}/dead-letter-groups", policy=OPERATOR)
    async def get_dead_letter_groups(db: Db) -> list[DeadLetterGroupView]:
        """What the service gave up on, by cause."""
        async with db.transaction() as session:
            return [DeadLetterGroupView.model_validate(row) for row in await dead_letters.list_groups(session)]

    @api.get(base, policy=OPERATOR)
    async def get_dead_letters(
        db: Db,
        paging: Paging,
        state: Annotated[ParkedState, Query()] = "dead",
        fingerprint: Annotated[Fingerprint | None, Query()] = None,
    ) -> Page[DeadLetterView]:
        """Events that are not handled, oldest first: given up, waiting for their next attempt, or discarded."""
        after = paging.after(_row_id)
        async with db.transaction() as session:
            rows = await dead_letters.list_letters(
                session, state=state, fingerprint=fingerprint, after=after, limit=paging.limit + 1
            )
        shown, cursor = page(rows, paging.limit, lambda row: (row.id,))
        return Page(items=[DeadLetterView.model_validate(row) for row in shown], next_cursor=cursor)

    @api.get(base + "/{event_id}", policy=OPERATOR)
    async def get_dead_letter(event_id: UUID, db: Db) -> DeadLetterDocumentView:
        """One of them, with its document."""
        async with db.transaction() as session:
            return DeadLetterDocumentView.model_validate(await dead_letters.get_letter(session, event_id))

    @api.post(base + "/replay", policy=OPERATOR)
    async def replay_dead_letters(body: DeadLetterReplay, principal: CurrentPrincipal, db: Db) -> DeadLettersChosen:
        """Have letters handled again, through the inbox: what had its effect has no second one."""
        chosen = body.selection()
        async with db.transaction() as session:
            if body.dry_run:
                letters = await dead_letters.count_letters(session, chosen)
            else:
                letters = await dead_letters.replay(session, principal.person_id, chosen, body.per_second)
        return DeadLettersChosen(letters=letters, dry_run=body.dry_run)

    @api.post(base + "/discard", policy=OPERATOR)
    async def discard_dead_letters(body: DeadLetterDiscard, principal: CurrentPrincipal, db: Db) -> DeadLettersChosen:
        """Close letters for good, with a reason."""
        chosen = body.selection()
        async with db.transaction() as session:
            if body.dry_run:
                await dead_letters.require_discardable(session, chosen.condition())
                letters = await dead_letters.count_letters(session, chosen)
            else:
                letters = await dead_letters.discard(session, principal.person_id, chosen, body.reason)
        return DeadLettersChosen(letters=letters, dry_run=body.dry_run)

    return api
