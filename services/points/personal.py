"""What points holds about a person: the ledger, which stays under their id, and their places on leaderboards."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import ColumnElement, and_, select

from chassis.personal import DELETE, STAYS, Held, Personal
from services.points.models import Account, Attendance, Entry, Hold, Score, Transfer


def _accounts(person_id: UUID) -> ColumnElement[bool]:
    return and_(Account.owner_type == "person", Account.owner_id == person_id)


def _transfers(person_id: UUID) -> ColumnElement[bool]:
    return and_(Transfer.subject_type == "person", Transfer.subject_id == person_id)


def _entries(person_id: UUID) -> ColumnElement[bool]:
    return Entry.transfer_id.in_(select(Transfer.id).where(_transfers(person_id)))


# Holds end with their redemptions, which orders cancels.
PERSONAL = Personal(
    held=[
        Held(Account, _accounts, erased=STAYS),
        Held(Transfer, _transfers, erased=STAYS),
        Held(Entry, _entries, erased=STAYS),
        Held(Attendance, Attendance.person_id, erased=STAYS),
        Held(Hold, Hold.person_id, erased=STAYS),
        Held(Score, Score.subject_id, erased=DELETE),
    ],
)
