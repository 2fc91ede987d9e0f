"""What orders holds about a person: what they took on, booked, did and said. Facts stay under their id, words go."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.personal import DELETE, STAYS, Held, Personal
from services.orders.changes import cancel_bookings_of
from services.orders.leases import release_claims_of
from services.orders.models import Booking, Claim, Membership, ProgressUpdate, Registration
from services.orders.models.attendance import Attendance
from services.orders.models.redemptions import Redemption
from services.orders.models.reviews import Review
from services.orders.redemptions import cancel_redemptions_of


def _claims(person_id: UUID) -> ColumnElement[bool]:
    return or_(Claim.person_id == person_id, Claim.claimant_id == person_id)


def _progress(person_id: UUID) -> ColumnElement[bool]:
    return ProgressUpdate.claim_id.in_(select(Claim.id).where(_claims(person_id)))


async def end_open(session: AsyncSession, person_id: UUID) -> None:
    """Give places, seats and stock back; points frees what it holds when it hears of the cancelled redemptions."""
    await release_claims_of(session, person_id)
    await cancel_bookings_of(session, person_id)
    await cancel_redemptions_of(session, person_id)


PERSONAL = Personal(
    held=[
        Held(Claim, _claims, erased=STAYS),
        Held(ProgressUpdate, _progress, erased={"note": None}),
        Held(Booking, Booking.person_id, erased=STAYS),
        Held(Attendance, Attendance.person_id, erased={"void_reason": None}),
        Held(Review, Review.author_id, erased={"text": ""}),
        Held(Redemption, Redemption.person_id, erased=STAYS),
        Held(Registration, Registration.person_id, erased=DELETE),
        Held(Membership, Membership.person_id, erased=DELETE),
    ],
    end_open=end_open,
)
