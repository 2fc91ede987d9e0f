"""The whole subscription of points."""

from __future__ import annotations

from chassis.inbox import Handlers
from contracts.orders import (
    AttendanceRecorded,
    AttendanceVoided,
    ClaimAccepted,
    ClaimCompleted,
    ClaimReleased,
    RedemptionCancelled,
    RedemptionCollected,
    RedemptionConfirmed,
    RedemptionRequested,
    ReviewPosted,
)
from services.points.awards import award_claims, award_reviews, reverse_claims
from services.points.holds import capture_holds, confirm_holds, place_holds, release_holds
from services.points.participations import count_check_ins, void_attendances

HANDLERS: Handlers = {
    AttendanceRecorded: count_check_ins,
    AttendanceVoided: void_attendances,
    ClaimAccepted: award_claims,
    ClaimCompleted: award_claims,
    ClaimReleased: reverse_claims,
    ReviewPosted: award_reviews,
    RedemptionRequested: place_holds,
    RedemptionConfirmed: confirm_holds,
    RedemptionCancelled: release_holds,
    RedemptionCollected: capture_holds,
}
