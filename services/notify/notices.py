"""Who hears of which fact, in which words, and by which way: one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Literal
from uuid import UUID

from contracts.catalog import NeedAccepted, NeedDeclined, NeedFulfilled
from contracts.event import Event
from contracts.members import MembershipConfirmed, RoleGranted
from contracts.orders import (
    AttendanceRecorded,
    BookingCancelled,
    BookingConfirmed,
    BookingPlaced,
    BookingWaitlisted,
    ClaimAccepted,
    ClaimCompleted,
    ClaimReleased,
    ClaimSigned,
    RedemptionCancelled,
    RedemptionCollected,
    RedemptionConfirmed,
    RedemptionRefused,
)
from contracts.points import PointsAwarded

SIGN_IN_CODE = "sign_in_code"

# What a live status item tells of its fact, where the fact has it, besides type and id.
STATUS_FIELDS = ("title", "product_id", "session_id", "organisation_id", "area_id", "role")
POINTS_FIELDS = ("transfer_id", "asset", "amount", "title")


def _always(_: Event) -> bool:
    return True


def _is_points(fact: PointsAwarded) -> bool:
    """Positive energy moves with every step; only points are worth a message."""
    return fact.asset == "points"


def _owner(fact: PointsAwarded) -> UUID | None:
    return fact.subject_id if fact.subject_type == "person" else None


@dataclass(frozen=True)
class Notice:
    """How one type of fact reaches the person it concerns.

    `params` are the fact's fields that the template names; `sms` says that it goes out by SMS at once; `to` finds the
    person, None for nobody; a fact that is not `worth_a_message` is only seen live.
    """

    template: str
    params: tuple[str, ...] = ()
    sms: bool = False
    live: Literal["status", "points"] = "status"
    to: Callable[[Any], UUID | None] = attrgetter("person_id")
    worth_a_message: Callable[[Any], bool] = _always

    def params_of(self, fact: Event, timezone: str) -> dict[str, Any]:
        """What the template needs, as JSON; times are told in `timezone`."""
        return {**fact.model_dump(mode="json", include=set(self.params)), "timezone": timezone}

    def live_data_of(self, fact: Event) -> dict[str, Any]:
        """The data of the fact's own live item."""
        if self.live == "points":
            return fact.model_dump(mode="json", include=set(POINTS_FIELDS))
        shown = fact.model_dump(mode="json", include=set(STATUS_FIELDS))
        return {"type": fact.type, "id": fact.partition_key(), **shown}


_BOOKING = ("title", "starts_at", "seats")
_REWARD = ("title", "quantity", "points")

# Every change of a booking, and a reward that waits, go out by SMS at once as Zhangjiagang's service supermarket does.
NOTICES: Mapping[type[Event], Notice] = {
    NeedAccepted: Notice("need_accepted", ("title",)),
    NeedDeclined: Notice("need_declined", ("title", "reason")),
    NeedFulfilled: Notice("need_fulfilled", ("title",)),
    ClaimAccepted: Notice("claim_accepted", ("title", "lease_until")),
    ClaimSigned: Notice("claim_signed", ("title",)),
    ClaimCompleted: Notice("claim_completed", ("title",)),
    ClaimReleased: Notice("claim_released", ("title", "reason")),
    BookingPlaced: Notice("booking_placed", _BOOKING, sms=True),
    BookingConfirmed: Notice("booking_confirmed", _BOOKING, sms=True),
    BookingWaitlisted: Notice("booking_waitlisted", (*_BOOKING, "position"), sms=True),
    BookingCancelled: Notice("booking_cancelled", (*_BOOKING, "reason"), sms=True),
    AttendanceRecorded: Notice("attendance_recorded", ("title", "action", "at", "minutes")),
    PointsAwarded: Notice("points_awarded", ("title", "amount"), live="points", to=_owner, worth_a_message=_is_points),
    RedemptionConfirmed: Notice("redemption_confirmed", _REWARD, sms=True),
    RedemptionRefused: Notice("redemption_refused", (*_REWARD, "reason")),
    RedemptionCancelled: Notice("redemption_cancelled", (*_REWARD, "reason")),
    RedemptionCollected: Notice("redemption_collected", _REWARD),
    MembershipConfirmed: Notice("membership_confirmed"),
    RoleGranted: Notice("role_granted", ("role",)),
}
