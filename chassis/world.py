"""Time, ids, randomness and failpoints: what a test or simulation decides instead of the machine."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import uuid_utils.compat

from chassis.clock import SharedClock, machine_time


def _no_failure(_name: str) -> None:
    return None


def _no_correction(_theirs: datetime, _asked: datetime, _heard: datetime) -> None:
    return None


@dataclass(frozen=True)
class World:
    """The outside world as a service sees it. `correct` is told the time that the service's database has; `failpoint`
    is called by name where a crash would be interesting."""

    now: Callable[[], datetime] = machine_time
    correct: Callable[[datetime, datetime, datetime], None] = _no_correction
    new_id: Callable[[], UUID] = uuid_utils.compat.uuid7
    random: random.Random = field(default_factory=random.SystemRandom)
    failpoint: Callable[[str], None] = _no_failure


def shared_world() -> World:
    """The world of a process that shares its databases with others."""
    clock = SharedClock()
    return World(now=clock, correct=clock.correct)
