"""What notify listens to, and what it does then."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from operator import itemgetter
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.arrays import among, arrays, insert_arrays, json
from chassis.db import world_of
from chassis.inbox import Handler, by_sequence
from chassis.tables import scopes
from contracts.event import Envelope, Event
from contracts.members import PersonChanged, PersonRegistered, SignInChallenged
from services.notify.deliveries import queue_deliveries
from services.notify.models import Delivery, Message, Person
from services.notify.notices import NOTICES, SIGN_IN_CODE, Notice
from services.notify.streams import NewItem, add_items

# A code is of no use later: members' challenges do not live longer.
SIGN_IN_CODE_MAX_AGE_MIN = 5
# For times in an area that this service has not heard of yet.
DEFAULT_TIMEZONE = "Asia/Shanghai"

_WRITTEN = ("id", "person_id", "event_id", "template", "created_at", "params")
_WRITE = insert_arrays(Message, _WRITTEN).on_conflict_do_nothing().returning(Message.event_id)
_ZONES = select(scopes.c.id, scopes.c.timezone).where(among(scopes.c.id, "areas"))


async def tell_people(session: AsyncSession, envelopes: Sequence[Envelope[Event]]) -> None:
    """Give each fact's person a message, its live items and, where the table says so, a delivery by SMS."""
    heard = [(envelope, NOTICES[type(envelope.data)]) for envelope in envelopes]
    addressed = [(e, notice, person) for e, notice in heard if (person := notice.to(e.data)) is not None]
    zones = await _zones(session, [envelope.data for envelope, _, _ in addressed])
    told = [_message(session, e, notice, to, zones) for e, notice, to in addressed if notice.worth_a_message(e.data)]
    messages = await _insert_new(session, told)
    items: list[NewItem] = []
    deliveries: list[Delivery] = []
    for envelope, notice, person_id in addressed:
        if notice.worth_a_message(envelope.data):
            message = messages.get(envelope.id)
            if message is None:
                continue
            items.append(NewItem(person_id, "message", {"id": str(message["id"]), **_words(message)}))
            if notice.sms:
                deliveries.append(_delivery(session, envelope, person_id=person_id, **_words(message)))
        items.append(NewItem(person_id, notice.live, notice.live_data_of(envelope.data)))
    queue_deliveries(session, deliveries)
    add_items(session, items)


async def send_sign_in_codes(session: AsyncSession, envelopes: Sequence[Envelope[SignInChallenged]]) -> None:
    """Queue one SMS per challenge; who gets it and the code are asked of members when it is sent."""
    deliveries = []
    for envelope in envelopes:
        expires_at = envelope.time + timedelta(minutes=SIGN_IN_CODE_MAX_AGE_MIN)
        delivery = _delivery(
            session,
            envelope,
            challenge_id=envelope.data.challenge_id,
            template=SIGN_IN_CODE,
            params={},
            expires_at=expires_at,
        )
        deliveries.append(delivery)
    queue_deliveries(session, deliveries)


async def copy_locales(session: AsyncSession, envelopes: Sequence[Envelope[PersonRegistered | PersonChanged]]) -> None:
    """Keep the copy of people's languages current."""
    rows = [
        {"id": envelope.data.person_id, "locale": envelope.data.locale, "sequence": envelope.sequence}
        for envelope in by_sequence(envelopes)
    ]
    rows.sort(key=lambda row: str(row["id"]))
    statement = insert(Person).values(rows)
    newer = statement.excluded
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=["id"],
            set_={"locale": newer.locale, "sequence": newer.sequence},
            where=Person.sequence < newer.sequence,
        )
    )


def _message(
    session: AsyncSession, envelope: Envelope[Event], notice: Notice, person_id: UUID, zones: dict[UUID, str]
) -> dict[str, Any]:
    world = world_of(session)
    timezone = zones.get(getattr(envelope.data, "area_id", None) or UUID(int=0), DEFAULT_TIMEZONE)
    return {
        "id": world.new_id(),
        "person_id": person_id,
        "event_id": envelope.id,
        "template": notice.template,
        "params": notice.params_of(envelope.data, timezone),
        "created_at": world.now(),
    }


async def _insert_new(session: AsyncSession, messages: Sequence[dict[str, Any]]) -> dict[UUID, dict[str, Any]]:
    """Insert the messages that are not there yet; returns these by their event's id.

    The inbox has seen to it already; this holds for an event told again after the inbox has forgotten it.
    """
    if not messages:
        return {}
    rows = [(*itemgetter(*_WRITTEN[:-1])(message), json(message["params"])) for message in messages]
    new = set((await session.scalars(_WRITE, arrays(_WRITTEN, rows))).all())
    return {message["event_id"]: message for message in messages if message["event_id"] in new}


def _words(message: dict[str, Any]) -> dict[str, Any]:
    return {"template": message["template"], "params": message["params"]}


def _delivery(session: AsyncSession, envelope: Envelope[Event], **values: Any) -> Delivery:
    world = world_of(session)
    now = world.now()
    return Delivery(
        id=world.new_id(),
        event_id=envelope.id,
        channel="sms",
        state="waiting",
        attempts=0,
        due_at=now,
        changed_at=now,
        version=0,
        **values,
    )


async def _zones(session: AsyncSession, facts: Sequence[Event]) -> dict[UUID, str]:
    """The time zones of the areas that the facts are about, as far as known."""
    areas = {area_id for fact in facts if (area_id := getattr(fact, "area_id", None)) is not None}
    if not areas:
        return {}
    rows = await session.execute(_ZONES, {"areas": list(areas)})
    return {row.id: row.timezone for row in rows}


HANDLERS: dict[type[Event], Handler] = {
    SignInChallenged: send_sign_in_codes,
    PersonRegistered: copy_locales,
    PersonChanged: copy_locales,
    **dict.fromkeys(NOTICES, tell_people),
}
