"""The smallest service there can be: it counts what it hears, and says what it is told to say."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request
from pydantic import BaseModel, Field
from sqlalchemy import Text, Uuid, func, select
from sqlalchemy import text as sql
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from chassis.api import INTEGER_MAX, Api, Body, CurrentWorld, Db, Page, Paging, Words, page
from chassis.auth import PUBLIC, SIGN_IN, SIGNED_IN, CurrentPrincipal, roles, service
from chassis.batching import GroupCommit
from chassis.db import world_of
from chassis.errors import Forbidden, Refusal
from chassis.idempotency import IdempotencyKey, Keyed, once_each
from chassis.inbox import Handlers
from chassis.outbox import emit
from chassis.personal import Held, Personal
from chassis.service import Runtime, Service
from chassis.tables import service_metadata
from chassis.telemetry import following
from contracts.event import Envelope
from contracts.members import PersonChanged, PersonRegistered


class Base(DeclarativeBase):
    metadata = service_metadata()


class Note(Base):
    __tablename__ = "notes"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    said: Mapped[str] = mapped_column(Text)
    by: Mapped[UUID] = mapped_column(Uuid)


class NewNote(Body):
    said: Annotated[str, Words(200)]
    times: int = Field(default=1, ge=1, le=INTEGER_MAX)


class NoteView(BaseModel):
    id: UUID
    said: str


@dataclass(frozen=True)
class NoteRequest:
    said: str
    by: UUID
    key: IdempotencyKey


async def write_notes(session: AsyncSession, requests: Sequence[NoteRequest]) -> list[NoteView | Refusal]:
    """Write each note; "no" is refused, "break" is a defect."""
    await session.execute(sql(f"SELECT pg_advisory_xact_lock({WRITERS_LOCK})"))

    async def decide(fresh: Sequence[NoteRequest]) -> list[NoteView | Refusal]:
        answers: list[NoteView | Refusal] = []
        for request in fresh:
            if request.said == "break":
                raise ArithmeticError("a defect")
            if request.said == "no":
                answers.append(Forbidden())
                continue
            note_id = request.by if request.said == "clash" else world_of(session).new_id()
            note = Note(id=note_id, said=request.said, by=request.by)
            session.add(note)
            fact = PersonRegistered(person_id=request.by, locale="en")
            with following(request.key.origin):
                emit(session, fact, sequence=1)
            answers.append(NoteView(id=note.id, said=note.said))
        await session.flush()
        return answers

    return await once_each(session, requests, decide, NoteView)


async def count_people(session: AsyncSession, envelopes: Sequence[Envelope[PersonRegistered]]) -> None:
    """One note per event; a locale `poison` cannot be handled."""
    for envelope in envelopes:
        if envelope.data.locale == "poison":
            raise ValueError("poison")
        session.add(Note(id=world_of(session).new_id(), said=str(envelope.id), by=envelope.data.person_id))
    await session.flush()


async def change_person(session: AsyncSession, envelopes: Sequence[Envelope[PersonChanged]]) -> None:
    """A person with no note cannot be changed."""
    for envelope in envelopes:
        found = await session.scalar(select(func.count()).select_from(Note).where(Note.by == envelope.data.person_id))
        if not found:
            raise LookupError("nobody")


api = Api("notes")
internal = Api("notes", internal=True)
# Who holds it writes notes; the others wait.
WRITERS_LOCK = 7


async def _batch(request: Request) -> GroupCommit[NoteRequest, NoteView]:
    batch: GroupCommit[NoteRequest, NoteView] = request.app.state.parts
    return batch


Parts = Annotated[GroupCommit[NoteRequest, NoteView], Depends(_batch)]


@api.post("/notes", policy=SIGNED_IN, status_code=201)
async def post_note(body: NewNote, principal: CurrentPrincipal, key: Keyed, parts: Parts) -> NoteView:
    return await parts.submit(NoteRequest(body.said, principal.person_id, key))


@api.post("/boards/{board}/notes", policy=SIGNED_IN, status_code=201)
async def post_board_note(board: str, body: NewNote, principal: CurrentPrincipal, key: Keyed, parts: Parts) -> NoteView:
    return await parts.submit(NoteRequest(body.said, principal.person_id, key))


@api.get("/notes", policy=PUBLIC)
async def list_notes(db: Db) -> list[NoteView]:
    async with db.transaction() as session:
        return [NoteView(id=note.id, said=note.said) for note in (await session.scalars(select(Note))).all()]


@api.get("/secret", policy=roles("operator"))
async def read_secret(world: CurrentWorld) -> str:
    return world.now().isoformat()


@api.get("/pages", policy=PUBLIC)
async def list_pages(db: Db, paging: Paging) -> Page[NoteView]:
    after = paging.after(lambda parts: UUID(parts[0]))
    async with db.transaction() as session:
        query = select(Note).order_by(Note.id.desc()).limit(paging.limit + 1)
        rows = (await session.scalars(query if after is None else query.where(Note.id < after))).all()
    shown, cursor = page(rows, paging.limit, lambda note: (note.id,))
    return Page(items=[NoteView(id=note.id, said=note.said) for note in shown], next_cursor=cursor)


@api.post("/sign-in", policy=SIGN_IN)
async def sign_in() -> str:
    return "welcome"


@internal.get("/contacts", policy=service("contacts"))
async def read_contacts() -> str:
    return "a contact"


@asynccontextmanager
async def start(runtime: Runtime) -> AsyncIterator[GroupCommit[NoteRequest, NoteView]]:
    async with GroupCommit(runtime.db, write_notes) as notes:
        yield notes


HANDLERS: Handlers = {PersonRegistered: count_people, PersonChanged: change_person}
# A note keeps who wrote it, and when what was said is gone, that alone.
PERSONAL = Personal(held=[Held(Note, Note.by, erased={"said": ""})])
SERVICE = Service(
    name="toy",
    title="Toy",
    apis=[api, internal],
    handlers=HANDLERS,
    metadata=Base.metadata,
    revisions=Path(__file__).parent / "toy_migrations",
    personal=PERSONAL,
    start=start,
)
