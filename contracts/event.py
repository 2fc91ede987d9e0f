"""The envelope every fact travels in: CloudEvents 1.0 in JSON, with `partitionkey` and `sequence`.
Where requests are traced, `traceparent` (CloudEvents' distributed tracing extension) names the span that told it.

A fact is a class derived from `Event`; it declares its type and which of its fields names the thing it is about:

    class ClaimAccepted(Event, type="linli.orders.claim_accepted.v1", key="claim_id"): ...

`Envelope` is one such fact on its way. `sequence` is that thing's version: a copy of it applies only a higher one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Generic, TypeVar
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

TYPE_PATTERN = re.compile(r"^linli\.(?P<producer>[a-z]+)\.(?P<fact>[a-z_]+)\.v(?P<version>[1-9][0-9]*)$")

# CloudEvents defines `sequence` as a string that sorts as text; ten digits hold any version a thing will reach.
SEQUENCE_DIGITS = 10
# Type and partition key of an event that nobody here knows are kept in indexed columns: no NUL, and not too long.
TEXT_MAX = 200


class Event(BaseModel):
    """A past fact. Unknown fields are ignored, so that a producer may add optional ones within a version."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: ClassVar[str] = ""
    key: ClassVar[str] = ""
    # Fields with what a person wrote in their own words: emptied, where the fact is kept, when the person is erased.
    own_words: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls, *, type: str = "", key: str = "", **kwargs: Any) -> None:  # noqa: A002 - CloudEvents' word
        super().__init_subclass__(**kwargs)
        if not type:
            return
        if not TYPE_PATTERN.match(type):
            raise TypeError(f"{cls.__name__}: {type!r} is not linli.<producer>.<fact>.v<version>")
        if type in EVENT_TYPES:
            raise TypeError(f"{type} is declared by {EVENT_TYPES[type].__name__} already")
        cls.type, cls.key = type, key
        EVENT_TYPES[type] = cls

    @classmethod
    def routing_key(cls) -> str:
        """The type without its prefix, for example `orders.claim_accepted.v1`."""
        return cls.type.removeprefix("linli.")

    @classmethod
    def producer(cls) -> str:
        """The service that may emit it."""
        return cls.type.split(".")[1]

    def partition_key(self) -> str:
        """Id of the thing the fact is about; its `sequence` counts that thing's versions."""
        return str(getattr(self, self.key))


EVENT_TYPES: dict[str, type[Event]] = {}

E_co = TypeVar("E_co", bound=Event, covariant=True)


class ContextAttributes(BaseModel):
    """What the envelope says of the fact, attribute for attribute as on the wire."""

    specversion: str = Field(default="1.0", pattern=r"^1\.0$")
    id: UUID
    source: str
    type: str = Field(pattern=TYPE_PATTERN.pattern, max_length=TEXT_MAX)
    subject: str
    time: AwareDatetime
    datacontenttype: str = "application/json"
    partitionkey: str = Field(pattern=r"^[!-~]+$", max_length=TEXT_MAX)
    sequence: str = Field(pattern=rf"^\d{{{SEQUENCE_DIGITS}}}$")
    requestid: str | None = None
    traceparent: str | None = Field(default=None, max_length=TEXT_MAX)


class CloudEvent(ContextAttributes):
    """The envelope as it is on the wire."""

    data: dict[str, Any]


class UnknownEventType(ValueError):
    """The envelope's type is declared by no contract of this release; `wire` is the envelope."""

    def __init__(self, wire: CloudEvent) -> None:
        super().__init__(f"{wire.type} is not a type this release knows")
        self.wire = wire


@dataclass(frozen=True, slots=True)
class Envelope(Generic[E_co]):
    """One fact on its way: which, about what, which version of it, when, the request that caused it, and its trace."""

    id: UUID
    data: E_co
    sequence: int
    time: datetime
    requestid: str | None = None
    traceparent: str | None = None

    @property
    def type(self) -> str:
        return self.data.type

    @property
    def partitionkey(self) -> str:
        return self.data.partition_key()

    def to_json(self) -> str:
        """CloudEvents 1.0, structured JSON mode."""
        key = self.partitionkey
        attributes = ContextAttributes(
            id=self.id,
            source=f"/linli/{self.data.producer()}",
            type=self.type,
            subject=key,
            time=self.time,
            partitionkey=key,
            sequence=f"{self.sequence:0{SEQUENCE_DIGITS}d}",
            requestid=self.requestid,
            traceparent=self.traceparent,
        )
        # Joined as text: what the fact is written as is not read again.
        head = attributes.model_dump_json(exclude_none=True).removesuffix("}")
        return f'{head},"data":{self.data.model_dump_json()}}}'


def parse(document: str | bytes) -> Envelope[Event]:
    """Read one CloudEvent; raises UnknownEventType, or ValueError (pydantic) naming the bad attribute."""
    wire = CloudEvent.model_validate_json(document)
    declared = EVENT_TYPES.get(wire.type)
    if declared is None:
        raise UnknownEventType(wire)
    return Envelope(
        id=wire.id,
        data=declared.model_validate(wire.data),
        sequence=int(wire.sequence),
        time=wire.time,
        requestid=wire.requestid,
        traceparent=wire.traceparent,
    )
