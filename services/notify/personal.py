"""What notify holds about a person: all that they were told, which goes."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import ColumnElement, select

from chassis.personal import DELETE, Held, Personal
from services.notify.models import Delivery, Message, Person, SandboxSms, Stream, StreamItem


def _sandbox_sms(person_id: UUID) -> ColumnElement[bool]:
    return SandboxSms.key.in_(select(Delivery.id).where(Delivery.person_id == person_id))


# What refers to another table comes before it.
PERSONAL = Personal(
    held=[
        Held(SandboxSms, _sandbox_sms, erased=DELETE, hidden={"phone_hash"}),
        Held(Delivery, Delivery.person_id, erased=DELETE),
        Held(Message, Message.person_id, erased=DELETE),
        Held(StreamItem, StreamItem.person_id, erased=DELETE),
        Held(Stream, Stream.person_id, erased=DELETE),
        Held(Person, Person.id, erased=DELETE),
    ],
)
