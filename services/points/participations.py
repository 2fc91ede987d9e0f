"""Participations: of a person's valid attendances at a product one counts, and that one is awarded.

The outcome depends on which check-ins and voidings were heard, never on their order: a person has the award for a
product exactly when at least one of their check-ins there is not void.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import ScalarResult, and_, exists, select, tuple_, update
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from contracts.event import Envelope
from contracts.orders import AttendanceRecorded, AttendanceVoided
from services.points.awards import award_deeds, reverse_awards
from services.points.deeds import Deed
from services.points.ledger import lock_ledger
from services.points.models import Attendance
from services.points.postings import Subject

Participation = tuple[UUID, UUID]


async def count_check_ins(session: AsyncSession, envelopes: Sequence[Envelope[AttendanceRecorded]]) -> None:
    """Handler: a person's first valid check-in at a product counts. Check-outs are worth nothing by themselves."""
    check_ins = {e.data.attendance_id: e for e in reversed(envelopes) if e.data.action == "check_in"}
    if not check_ins:
        return
    await lock_ledger(session)
    noted = insert(Attendance)
    rows = [
        {
            "id": attendance_id,
            "person_id": envelope.data.person_id,
            "product_id": envelope.data.product_id,
            "event_id": envelope.id,
            "fact": envelope.data.model_dump(mode="json"),
            "told_at": envelope.time,
        }
        for attendance_id, envelope in check_ins.items()
    ]
    heard = {name: noted.excluded[name] for name in ("event_id", "fact", "told_at")}
    await session.execute(
        noted.on_conflict_do_update(index_elements=["id"], set_=heard, where=Attendance.event_id.is_(None)), rows
    )
    await _count_first(session, {(e.data.person_id, e.data.product_id) for e in check_ins.values()})


async def void_attendances(session: AsyncSession, envelopes: Sequence[Envelope[AttendanceVoided]]) -> None:
    """Handler: a void attendance counts no more, even if its check-in comes later; another may take its place."""
    await lock_ledger(session)
    for envelope in envelopes:
        fact = envelope.data
        before = await session.get(Attendance, fact.attendance_id, populate_existing=True)
        awarded_for = before.event_id if before is not None and before.counted else None
        await session.execute(
            insert(Attendance)
            .values(id=fact.attendance_id, person_id=fact.person_id, product_id=fact.product_id, voided=True)
            .on_conflict_do_update(index_elements=["id"], set_={"voided": True, "counted": False})
        )
        if awarded_for is not None:
            await reverse_awards(session, awarded_for, envelope)
            await _count_first(session, {(fact.person_id, fact.product_id)})


async def _count_first(session: AsyncSession, participations: set[Participation]) -> None:
    """Where none counts, count the first valid check-in and award it."""
    counted = await _mark_first(session, participations)
    await award_deeds(
        session,
        [
            Deed(
                event_type=AttendanceRecorded.type,
                event_id=fact_id,
                told_at=told_at,
                source_id=attendance.id,
                subject=Subject("person", attendance.person_id),
                area_id=UUID(fact["area_id"]),
                title=fact["title"],
                fact=fact,
            )
            for attendance in counted
            if (fact_id := attendance.event_id) and (fact := attendance.fact) and (told_at := attendance.told_at)
        ],
    )


async def _mark_first(session: AsyncSession, participations: set[Participation]) -> ScalarResult[Attendance]:
    other = aliased(Attendance)
    same = and_(other.person_id == Attendance.person_id, other.product_id == Attendance.product_id)
    first = (
        select(Attendance.id)
        .ext(distinct_on(Attendance.person_id, Attendance.product_id))
        .where(
            tuple_(Attendance.person_id, Attendance.product_id).in_(sorted(participations)),
            Attendance.fact.is_not(None),
            Attendance.voided.is_(False),
            ~exists().where(same, other.counted),
        )
        .order_by(Attendance.person_id, Attendance.product_id, Attendance.told_at, Attendance.id)
    )
    counting = update(Attendance).where(Attendance.id.in_(first)).values(counted=True).returning(Attendance)
    return await session.scalars(counting, execution_options={"synchronize_session": False, "populate_existing": True})
