"""Routes of attendance."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, model_validator
from pydantic_core import PydanticCustomError

from chassis.api import Api, Body, Db, Page, Paging, Words, page
from chassis.auth import SIGNED_IN, CurrentPrincipal, roles
from services.orders.attendance import (
    Pointer,
    list_attendances,
    list_session_attendances,
    record_attendance,
    void_attendance,
)
from services.orders.models.attendance import Attendance

SUBJECTS = ("ticket", "booking_id", "claim_id")

api = Api("attendance")


class NewAttendance(Body):
    """Exactly one of ticket, booking and claim; `person_id` says who worked for a claim, by default who made it."""

    ticket: Annotated[str, Words(40)] | None = None
    booking_id: UUID | None = None
    claim_id: UUID | None = None
    person_id: UUID | None = None
    action: Literal["check_in", "check_out"]

    @model_validator(mode="after")
    def _exactly_one_subject(self) -> NewAttendance:
        if sum(getattr(self, subject) is not None for subject in SUBJECTS) != 1:
            raise PydanticCustomError("one_of_fields", "exactly one of {fields}", {"fields": ", ".join(SUBJECTS)})
        return self


class VoidAttendance(Body):
    """Why the attendance was recorded by mistake."""

    reason: Annotated[str, Words(200)]


class AttendanceView(BaseModel):
    """An attendance; `grade` says how sure it is: a ticket was scanned, or somebody entitled attests it."""

    id: UUID
    person_id: UUID
    product_id: UUID
    session_id: UUID | None
    booking_id: UUID | None
    claim_id: UUID | None
    area_id: UUID
    status: Literal["checked_in", "checked_out", "voided"]
    checked_in_at: datetime
    checked_out_at: datetime | None
    minutes: int | None
    grade: Literal["scanned", "attested"]


@api.post("/attendances", policy=roles("coordinator", "organisation_admin", "device", "operator"), status_code=201)
async def check_in_or_out(body: NewAttendance, principal: CurrentPrincipal, db: Db) -> AttendanceView:
    """Record that somebody came or went; a repetition changes nothing and answers the same. 403: `own_attendance`.

    409: `booking_not_confirmed`, `claim_ended`, `overlapping_attendance`, `not_checked_in`.
    """
    pointer = Pointer(body.ticket, body.booking_id, body.claim_id, body.person_id)
    async with db.transaction() as session:
        attendance = await record_attendance(session, principal, pointer, body.action)
    return _view(attendance)


@api.post("/attendances/{attendance_id}/void", policy=roles("coordinator", "operator"))
async def take_back(attendance_id: UUID, body: VoidAttendance, principal: CurrentPrincipal, db: Db) -> AttendanceView:
    """Take back what was recorded by mistake."""
    async with db.transaction() as session:
        attendance = await void_attendance(session, principal, attendance_id, body.reason)
    return _view(attendance)


@api.get("/me/attendances", policy=SIGNED_IN)
async def my_attendances(principal: CurrentPrincipal, paging: Paging, db: Db) -> Page[AttendanceView]:
    """Where I have been, newest first."""
    mine = Attendance.person_id == principal.person_id
    async with db.transaction() as session:
        return _page(await list_attendances(session, mine, paging.after_id(), paging.limit), paging.limit)


@api.get("/sessions/{session_id}/attendances", policy=roles("coordinator", "organisation_admin", "operator"))
async def attendances_of_session(
    session_id: UUID, principal: CurrentPrincipal, paging: Paging, db: Db
) -> Page[AttendanceView]:
    """Who came to a session, newest first."""
    before = paging.after_id()
    async with db.transaction() as session:
        rows = await list_session_attendances(session, principal, session_id, before, paging.limit)
    return _page(rows, paging.limit)


def _page(rows: Sequence[Attendance], limit: int) -> Page[AttendanceView]:
    shown, cursor = page(rows, limit, lambda attendance: (attendance.id,))
    return Page(items=[_view(attendance) for attendance in shown], next_cursor=cursor)


def _view(attendance: Attendance) -> AttendanceView:
    return AttendanceView.model_validate(attendance, from_attributes=True)
