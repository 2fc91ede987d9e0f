"""Deeds: facts as the rules look at them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any
from uuid import UUID

from contracts.event import Event
from services.points.postings import Subject


@dataclass(frozen=True)
class Deed:
    """A fact that may be worth something to somebody. A rule awards the same `source_id` once."""

    event_type: str
    event_id: UUID
    told_at: datetime
    source_id: UUID
    subject: Subject
    area_id: UUID
    title: str
    fact: Event | Mapping[str, Any]

    @cached_property
    def fields(self) -> Mapping[str, Any]:
        """The fact's fields as JSON has them. Written down only when a rule asks: most rules do not."""
        return self.fact.model_dump(mode="json") if isinstance(self.fact, Event) else self.fact
