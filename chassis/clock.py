"""The clock of a service: this machine's, set right by the service's database where the two differ.

Copies of a service share one database and may run on machines whose clocks do not agree. A deadline that one of them
writes, another reads: both go by the database's time then. Clocks that are kept right are left as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import structlog

# More than a machine that is kept right is off, less than anybody notices.
MAY_DIFFER = timedelta(seconds=0.25)
# A time that took longer to come says too little.
HEARD_WITHIN = timedelta(seconds=1)

log = structlog.get_logger(__name__)


def machine_time() -> datetime:
    """What this machine holds for the time, in UTC."""
    return datetime.now(UTC)


class SharedClock:
    """Gives the time; `correct` is told the database's."""

    def __init__(self, machine: Callable[[], datetime] = machine_time) -> None:
        self._machine = machine
        self._correction = timedelta()

    def __call__(self) -> datetime:
        return self._machine() + self._correction

    def correct(self, theirs: datetime, asked: datetime, heard: datetime) -> None:
        """Go by `theirs`, a time given between `asked` and `heard` by this clock, where it differs too much."""
        difference = theirs - (asked + (heard - asked) / 2)
        # One heard before it was asked: the machine's clock was set back meanwhile. When between the two it was given
        # nobody knows.
        if timedelta() <= heard - asked <= HEARD_WITHIN and abs(difference) > MAY_DIFFER + (heard - asked) / 2:
            self._correction += difference
            log.warning("clock_differs_from_database", corrected_by_s=round(self._correction.total_seconds(), 1))
