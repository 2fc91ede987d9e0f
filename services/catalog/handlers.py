"""What the catalogue listens to, and what each fact does here."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from chassis.inbox import Handlers, by_sequence
from contracts.event import Envelope
from contracts.members import CentreOpened, OrganisationRegistered
from contracts.orders import (
    AttendanceRecorded,
    AttendanceVoided,
    BookingCancelled,
    BookingConfirmed,
    BookingPlaced,
    ClaimAccepted,
    ClaimCompleted,
    ClaimProgressed,
    ClaimReleased,
    ClaimSigned,
    ReviewPosted,
)
from services.catalog.copies import Centre, Organisation
from services.catalog.counters import count_claims, count_participants, count_reviews, count_seats, take_over


async def copy_organisations(session: AsyncSession, envelopes: Sequence[Envelope[OrganisationRegistered]]) -> None:
    """Keep the names of organisations."""
    rows = [
        {"id": envelope.data.organisation_id, "name": envelope.data.name, "sequence": envelope.sequence}
        for envelope in by_sequence(envelopes)
    ]
    await take_over(session, Organisation, rows)


async def copy_centres(session: AsyncSession, envelopes: Sequence[Envelope[CentreOpened]]) -> None:
    """Keep where the centres are."""
    rows = [
        {"id": envelope.data.centre_id, "area_id": envelope.data.area_id, "sequence": envelope.sequence}
        for envelope in by_sequence(envelopes)
    ]
    await take_over(session, Centre, rows)


HANDLERS: Handlers = {
    ClaimAccepted: count_claims,
    ClaimSigned: count_claims,
    ClaimProgressed: count_claims,
    ClaimCompleted: count_claims,
    ClaimReleased: count_claims,
    BookingPlaced: count_seats,
    BookingConfirmed: count_seats,
    BookingCancelled: count_seats,
    AttendanceRecorded: count_participants,
    AttendanceVoided: count_participants,
    ReviewPosted: count_reviews,
    OrganisationRegistered: copy_organisations,
    CentreOpened: copy_centres,
}
