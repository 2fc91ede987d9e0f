"""Attendance (出勤): who came, recorded by whoever is entitled to say so, never by the attendee alone.

An attendance belongs to a booking (one for each) or to a claim (one for each person who worked). Recording it again
answers as the first time and tells nothing; a voided one counts as never recorded, so a true one can follow it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from chassis import scopes
from chassis.audit import note
from chassis.db import world_of
from chassis.errors import Forbidden, InvalidInput, NotArrived, NotFound
from chassis.outbox import emit
from chassis.tokens import Principal
from contracts.orders import AttendanceRecorded, AttendanceVoided
from services.orders.models import Booking, Claim, ProductOffer, SessionOffer
from services.orders.models.attendance import Attendance
from services.orders.refusals import BookingNotConfirmed, ClaimEnded, NotCheckedIn, OverlappingAttendance, OwnAttendance
from services.orders.registrations import is_member
from services.orders.tickets import as_printed

# A check-out that was forgotten until later credits no more than a day.
MINUTES_MAX = 24 * 60


@dataclass(frozen=True, slots=True)
class Pointer:
    """What a recorder shows or names: one of ticket, booking and claim; and who worked for the claim, by default who
    made it."""

    ticket: str | None
    booking_id: UUID | None
    claim_id: UUID | None
    person_id: UUID | None


@dataclass(frozen=True, slots=True)
class _Subject:
    """What somebody attends: a booking's session, or the work of a claim. `refusal` says why nobody can check in."""

    person_id: UUID
    product_id: UUID
    session_id: UUID | None
    booking_id: UUID | None
    claim_id: UUID | None
    area_id: UUID
    title: str
    refusal: BookingNotConfirmed | ClaimEnded | None


async def record_attendance(
    session: AsyncSession, principal: Principal, pointer: Pointer, action: Literal["check_in", "check_out"]
) -> Attendance:
    """Check the person in or out; repeated, it answers the same attendance."""
    subject = await _subject_of(session, pointer)
    await _require_recorder(session, principal, subject.area_id, subject.product_id, "device")
    if subject.person_id == principal.person_id:
        raise OwnAttendance()
    # One after another for each person, so that two doors cannot let them in at once.
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(str(subject.person_id), 0))))
    known = await _attendance_of(session, subject)
    if action == "check_out":
        if known is None:
            raise NotCheckedIn()
        if known.checked_out_at is None:
            _check_out(session, known)
            note(session, principal.person_id, "check_out", known.id)
        return known
    if known is not None:
        return known
    if subject.refusal is not None:
        raise subject.refusal
    await _refuse_overlap(session, subject)
    attendance = _check_in(session, subject, principal, "scanned" if pointer.ticket is not None else "attested")
    note(session, principal.person_id, "check_in", attendance.id)
    return attendance


async def void_attendance(session: AsyncSession, principal: Principal, attendance_id: UUID, reason: str) -> Attendance:
    """Take back what was recorded by mistake, and all that followed from it; voided again, it stays as it is."""
    attendance = await session.get(Attendance, attendance_id, with_for_update=True)
    if attendance is None:
        raise NotFound()
    await scopes.require(session, principal, attendance.area_id, "coordinator", "operator")
    if attendance.status != "voided":
        attendance.status = "voided"
        attendance.voided_by = principal.person_id
        attendance.void_reason = reason
        attendance.version += 1
        emit(session, AttendanceVoided(**_about(attendance)), sequence=attendance.version)
        note(session, principal.person_id, "void_attendance", attendance.id)
    return attendance


async def list_session_attendances(
    session: AsyncSession, principal: Principal, session_id: UUID, before: UUID | None, limit: int
) -> Sequence[Attendance]:
    """Who came to a session, for those who may say so; as `list_attendances`."""
    offer = await session.get(SessionOffer, session_id)
    if offer is None:
        raise NotArrived()
    await _require_recorder(session, principal, offer.area_id, offer.product_id)
    return await list_attendances(session, Attendance.session_id == session_id, before, limit)


async def list_attendances(
    session: AsyncSession, which: ColumnElement[bool], before: UUID | None, limit: int
) -> Sequence[Attendance]:
    """Attendances, newest first; one more than `limit` if there are."""
    found = select(Attendance).where(which).order_by(Attendance.id.desc()).limit(limit + 1)
    if before is not None:
        found = found.where(Attendance.id < before)
    return (await session.scalars(found)).all()


async def _require_recorder(
    session: AsyncSession, principal: Principal, area_id: UUID, product_id: UUID, *more_roles: str
) -> None:
    """Raise Forbidden for whoever neither has a role in the area nor administers the product's organisation."""
    if await scopes.covers(session, principal, area_id, "coordinator", "operator", *more_roles):
        return
    product = await session.get(ProductOffer, product_id)
    owner = product.organisation_id if product else None
    if owner is None or not principal.has_for_organisation(owner, "organisation_admin"):
        raise Forbidden()


async def _subject_of(session: AsyncSession, pointer: Pointer) -> _Subject:
    """The booking or claim, kept as it is until the transaction ends."""
    if pointer.claim_id is not None:
        claim = await session.get(Claim, pointer.claim_id, with_for_update={"read": True})
        if claim is None:
            raise NotFound()
        return _work_of(claim, await _worker(session, claim, pointer.person_id))
    which = Booking.id == pointer.booking_id if pointer.ticket is None else Booking.ticket == as_printed(pointer.ticket)
    found = select(Booking, SessionOffer.title).join(SessionOffer, SessionOffer.session_id == Booking.session_id)
    row = (await session.execute(found.where(which).with_for_update(read=True, of=Booking))).one_or_none()
    if row is None:
        raise NotFound()
    booking, title = row
    return _Subject(
        person_id=booking.person_id,
        product_id=booking.product_id,
        session_id=booking.session_id,
        booking_id=booking.id,
        claim_id=None,
        area_id=booking.area_id,
        title=title,
        refusal=None if booking.status == "confirmed" else BookingNotConfirmed(),
    )


async def _worker(session: AsyncSession, claim: Claim, named: UUID | None) -> UUID:
    """Who works for the claim: who made it or, where it is an organisation's, one of its confirmed members."""
    if named is None or named == claim.person_id:
        return claim.person_id
    if claim.claimant_type == "organisation" and await is_member(session, claim.claimant_id, named):
        return named
    raise InvalidInput(("body.person_id", "exists", {"thing": "member of the claimant"}))


def _work_of(claim: Claim, person_id: UUID) -> _Subject:
    return _Subject(
        person_id=person_id,
        product_id=claim.product_id,
        session_id=None,
        booking_id=None,
        claim_id=claim.id,
        area_id=claim.area_id,
        title=claim.title,
        refusal=ClaimEnded() if claim.status == "released" else None,
    )


async def _attendance_of(session: AsyncSession, subject: _Subject) -> Attendance | None:
    which = (
        (Attendance.claim_id == subject.claim_id) & (Attendance.person_id == subject.person_id)
        if subject.booking_id is None
        else Attendance.booking_id == subject.booking_id
    )
    found = select(Attendance).where(which, Attendance.status != "voided").with_for_update()
    return (await session.scalars(found)).one_or_none()


async def _refuse_overlap(session: AsyncSession, subject: _Subject) -> None:
    """Nobody is in two sessions at once, whoever holds them. Work for a claim has no times and overlaps nothing."""
    here = await session.get(SessionOffer, subject.session_id) if subject.session_id else None
    if here is None:
        return
    elsewhere = (
        select(Attendance.id)
        .join(SessionOffer, SessionOffer.session_id == Attendance.session_id)
        .where(
            Attendance.person_id == subject.person_id,
            Attendance.session_id != here.session_id,
            Attendance.status == "checked_in",
            SessionOffer.starts_at < here.ends_at,
            SessionOffer.ends_at > here.starts_at,
        )
    )
    if (await session.scalars(elsewhere.limit(1))).first() is not None:
        raise OverlappingAttendance()


def _check_in(
    session: AsyncSession, subject: _Subject, principal: Principal, grade: Literal["scanned", "attested"]
) -> Attendance:
    world = world_of(session)
    attendance = Attendance(
        id=world.new_id(),
        person_id=subject.person_id,
        product_id=subject.product_id,
        session_id=subject.session_id,
        booking_id=subject.booking_id,
        claim_id=subject.claim_id,
        area_id=subject.area_id,
        title=subject.title,
        status="checked_in",
        grade=grade,
        checked_in_at=world.now(),
        recorded_by=principal.person_id,
        version=1,
    )
    session.add(attendance)
    _tell_recorded(session, attendance, "check_in", attendance.checked_in_at)
    return attendance


def _check_out(session: AsyncSession, attendance: Attendance) -> None:
    now = world_of(session).now()
    present = int((now - attendance.checked_in_at).total_seconds() // 60)
    attendance.status = "checked_out"
    attendance.checked_out_at = now
    # Two machines' clocks may differ: nobody was there for less than nothing.
    attendance.minutes = max(0, min(present, MINUTES_MAX))
    attendance.version += 1
    _tell_recorded(session, attendance, "check_out", now)


def _tell_recorded(
    session: AsyncSession, attendance: Attendance, action: Literal["check_in", "check_out"], at: datetime
) -> None:
    fact = AttendanceRecorded(**_about(attendance), action=action, at=at, minutes=attendance.minutes)
    emit(session, fact, sequence=attendance.version)


def _about(attendance: Attendance) -> dict[str, Any]:
    """What every fact about the attendance says."""
    return {
        "attendance_id": attendance.id,
        "person_id": attendance.person_id,
        "product_id": attendance.product_id,
        "session_id": attendance.session_id,
        "booking_id": attendance.booking_id,
        "claim_id": attendance.claim_id,
        "area_id": attendance.area_id,
        "title": attendance.title,
    }
