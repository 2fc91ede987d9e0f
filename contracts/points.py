"""Facts that points tells: awards, reversals, holds."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from contracts.event import Event

Asset = Literal["points", "energy"]


class PointsAwarded(Event, type="linli.points.points_awarded.v1", key="transfer_id"):
    """A rule awarded (or, negative, reversed) points or positive energy; which rule and why stands in the entry."""

    transfer_id: UUID
    subject_type: Literal["person", "organisation"]
    subject_id: UUID
    asset: Asset
    amount: int
    rule: str
    rule_version: int
    title: str


class HoldFact(Event):
    """What every fact about a redemption's hold says."""

    redemption_id: UUID
    person_id: UUID
    points: int


class HoldPlaced(HoldFact, type="linli.points.hold_placed.v1", key="redemption_id"):
    """The points are set aside and can be spent on nothing else."""


class HoldRefused(HoldFact, type="linli.points.hold_refused.v1", key="redemption_id"):
    """The points could not be set aside."""

    reason: Literal["insufficient_points", "cancelled"]


class HoldCaptured(HoldFact, type="linli.points.hold_captured.v1", key="redemption_id"):
    """The points are spent."""


class HoldReleased(HoldFact, type="linli.points.hold_released.v1", key="redemption_id"):
    """The points are free again."""

    reason: Literal["cancelled", "timed_out"]
