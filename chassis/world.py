"""Time, ids, randomness and failpoints: what a test or simulation decides instead of the machine."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

import uuid_utils.compat


def _system_now() -> datetime:
    return datetime.now(UTC)


def _no_failure(_name: str) -> None:
    return None


@dataclass(frozen=True)
class World:
    """The outside world as a service sees it. `failpoint` is called by name where a crash would be interesting."""

    now: Callable[[], datetime] = _system_now
    new_id: Callable[[], UUID] = uuid_utils.compat.uuid7
    random: random.Random = field(default_factory=random.SystemRandom)
    failpoint: Callable[[str], None] = _no_failure
