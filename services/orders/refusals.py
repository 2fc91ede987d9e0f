"""What orders refuses; the texts stand in `locales/`."""

from __future__ import annotations

from chassis.errors import Refusal


class SoldOut(Refusal):
    """Every place of the product is claimed."""

    type = "sold_out"


class AlreadyClaimed(Refusal):
    """The claimant has a claim of this product that holds a place."""

    type = "already_claimed"


class NotOpen(Refusal):
    """The product takes no claims: it was withdrawn, or nobody is to claim it."""

    type = "not_open"


class ClaimantNotAllowed(Refusal):
    """The product is for the other kind of claimant."""

    type = "claimant_not_allowed"


class NotRegistered(Refusal):
    """The person has registered with no area, or orders has not heard of it yet."""

    type = "not_registered"
    retry_after_s = 2


class ClaimEnded(Refusal):
    """The claim is completed or released, or its lease has run out."""

    type = "claim_ended"


class NotSigned(Refusal):
    """The responsibility agreement is to be signed first."""

    type = "not_signed"


class BookingClosed(Refusal):
    """The session takes no bookings (any more), or it has begun."""

    type = "booking_closed"


class AlreadyBooked(Refusal):
    """The person has a live booking of this session."""

    type = "already_booked"


class PartyTooLarge(Refusal):
    """The session will never have this many seats."""

    type = "party_too_large"


class StillWaiting(Refusal):
    """The party waits for seats: there is nothing to confirm."""

    type = "still_waiting"


class BookingEnded(Refusal):
    """The booking was cancelled."""

    type = "booking_ended"


class OwnAttendance(Refusal):
    """403: nobody records their own attendance."""

    status = 403
    type = "own_attendance"


class BookingNotConfirmed(Refusal):
    """The booking waits for confirmation or for seats, or it was cancelled."""

    type = "booking_not_confirmed"


class NotCheckedIn(Refusal):
    """Nobody goes who has not come."""

    type = "not_checked_in"


class OverlappingAttendance(Refusal):
    """The person is checked in to another session of the same time."""

    type = "overlapping_attendance"


class AlreadyReviewed(Refusal):
    """The person has reviewed this claim or session."""

    type = "already_reviewed"


class NotCompleted(Refusal):
    """What is to be reviewed is not over yet."""

    type = "not_completed"


class NotEntitled(Refusal):
    """403: reviews are for those who were served and for residents of the area, and never of one's own work."""

    status = 403
    type = "not_entitled"


class OutOfStock(Refusal):
    """The centre has not that many pieces of the reward left."""

    type = "out_of_stock"


class AlreadyCollected(Refusal):
    """The reward was handed over already."""

    type = "already_collected"


class NotReadyForCollection(Refusal):
    """The redemption ended before the reward was collected."""

    type = "redemption_ended"


class AlreadyAttended(Refusal):
    """The party was checked in: its booking cannot be cancelled any more."""

    type = "already_attended"
