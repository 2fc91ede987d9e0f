"""Facts that orders tells: claims, bookings, attendance, reviews, redemptions."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import AwareDatetime

from contracts.event import Event

ClaimantType = Literal["member", "organisation"]


class ClaimFact(Event):
    """What every fact about a claim says; `person_id` is who acted for the claimant."""

    claim_id: UUID
    product_id: UUID
    area_id: UUID
    title: str
    claimant_type: ClaimantType
    claimant_id: UUID
    person_id: UUID


class ClaimAccepted(ClaimFact, type="linli.orders.claim_accepted.v1", key="claim_id"):
    """The claim has its place; the agreement is to be signed until `lease_until`."""

    lease_until: AwareDatetime


class ClaimSigned(ClaimFact, type="linli.orders.claim_signed.v1", key="claim_id"):
    """The responsibility agreement is signed and public."""


class ClaimProgressed(ClaimFact, type="linli.orders.claim_progressed.v1", key="claim_id"):
    """The claimant reported progress, in percent of the whole."""

    percent: int


class ClaimCompleted(ClaimFact, type="linli.orders.claim_completed.v1", key="claim_id"):
    """The coordinator accepted the completion."""


class ClaimReleased(ClaimFact, type="linli.orders.claim_released.v1", key="claim_id"):
    """The claim gave its place back."""

    reason: Literal["released", "lease_expired"]


class BookingFact(Event):
    """What every fact about a booking says; `person_id` is who ordered."""

    booking_id: UUID
    session_id: UUID
    product_id: UUID
    area_id: UUID
    title: str
    starts_at: AwareDatetime
    person_id: UUID
    seats: int


class BookingPlaced(BookingFact, type="linli.orders.booking_placed.v1", key="booking_id"):
    """Seats are taken; a coordinator has yet to confirm."""


class BookingConfirmed(BookingFact, type="linli.orders.booking_confirmed.v1", key="booking_id"):
    """Seats are taken and confirmed."""


class BookingWaitlisted(BookingFact, type="linli.orders.booking_waitlisted.v1", key="booking_id"):
    """The session is full; the party waits."""

    position: int


class BookingCancelled(BookingFact, type="linli.orders.booking_cancelled.v1", key="booking_id"):
    """The booking ended before its session."""

    reason: Literal["person", "coordinator", "session_cancelled"]


class AttendanceFact(Event):
    """What every fact about an attendance says; it belongs to a booking or to a claim."""

    attendance_id: UUID
    person_id: UUID
    product_id: UUID
    session_id: UUID | None
    booking_id: UUID | None
    claim_id: UUID | None
    area_id: UUID
    title: str


class AttendanceRecorded(AttendanceFact, type="linli.orders.attendance_recorded.v1", key="attendance_id"):
    """Somebody entitled recorded that the person came (check_in) or went (check_out)."""

    action: Literal["check_in", "check_out"]
    at: AwareDatetime
    minutes: int | None


class AttendanceVoided(AttendanceFact, type="linli.orders.attendance_voided.v1", key="attendance_id"):
    """The attendance was recorded by mistake: what followed from it is reversed."""


class ReviewPosted(Event, type="linli.orders.review_posted.v1", key="review_id"):
    """Somebody served, or a resident of the area, gave stars (1 to 5); the claimant is who was reviewed, if anybody."""

    review_id: UUID
    subject_type: Literal["claim", "session"]
    subject_id: UUID
    product_id: UUID
    area_id: UUID
    title: str
    person_id: UUID
    stars: int
    claimant_type: ClaimantType | None
    claimant_id: UUID | None


class RedemptionFact(Event):
    """What every fact about a redemption says; `points` is the price of the whole quantity."""

    redemption_id: UUID
    reward_id: UUID
    centre_id: UUID
    area_id: UUID
    title: str
    person_id: UUID
    quantity: int
    points: int


class RedemptionRequested(RedemptionFact, type="linli.orders.redemption_requested.v1", key="redemption_id"):
    """Stock is reserved; points are to be held."""


class RedemptionConfirmed(RedemptionFact, type="linli.orders.redemption_confirmed.v1", key="redemption_id"):
    """Stock and points are held; the reward waits at the centre."""


class RedemptionRefused(RedemptionFact, type="linli.orders.redemption_refused.v1", key="redemption_id"):
    """The points could not be held; the stock is free again."""

    reason: str


class RedemptionCancelled(RedemptionFact, type="linli.orders.redemption_cancelled.v1", key="redemption_id"):
    """The redemption ended without the reward: hold and stock are given back."""

    reason: Literal["person", "no_answer", "not_collected"]


class RedemptionCollected(RedemptionFact, type="linli.orders.redemption_collected.v1", key="redemption_id"):
    """The reward was handed over: the hold is to be captured."""
