"""Facts that notify tells: what became of a message."""

from __future__ import annotations

from uuid import UUID

from contracts.event import Event


class MessageDelivered(Event, type="linli.notify.message_delivered.v1", key="delivery_id"):
    """A channel took the message."""

    delivery_id: UUID
    person_id: UUID | None
    template: str
    channel: str


class MessageFailed(Event, type="linli.notify.message_failed.v1", key="delivery_id"):
    """A channel did not take the message, after all attempts; `cause` names the error's class."""

    delivery_id: UUID
    person_id: UUID | None
    template: str
    channel: str
    cause: str
