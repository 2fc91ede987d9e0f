"""A figure: what was measured, the limit it is measured against, and whether it reaches what it has to."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

COMPARE = {"≥": operator.ge, "≤": operator.le}


@dataclass(frozen=True)
class Figure:
    """`ratio` is value to limit; `reach` says what it (or, without a limit, the value) has to come to: "≥ 1.2".

    Without a `reach` the figure is for information. One that `failed` is no figure, and says why instead.
    """

    figure: str
    value: float
    unit: str
    limit: float | None = None
    limit_is: str = ""
    reach: str = ""
    failed: bool = False

    @property
    def ratio(self) -> float | None:
        return self.value / self.limit if self.limit else None

    @property
    def ok(self) -> bool:
        if not self.reach or self.failed:
            return not self.failed
        sign, number = self.reach.split()
        measured = self.value if self.limit is None else self.value / self.limit
        return bool(COMPARE[sign](measured, float(number)))

    def as_row(self) -> dict[str, Any]:
        """As it stands in `results.json`."""
        return {**asdict(self), "ratio": self.ratio, "ok": self.ok}


class Untrue(Exception):
    """What was answered is not what is there: the measurement is worth nothing."""


def growth(figure: str, costs: Sequence[float], unit: str, limit_is: str, reach: str = "") -> Figure:
    """What something costs with little there and with much, the first being the limit: it may grow so many times."""
    little, much = costs
    return Figure(figure, much, unit, little, limit_is, reach)
