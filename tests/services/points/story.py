"""Facts that the tests of points tell, with everything that does not matter filled in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text

from contracts.orders import (
    AttendanceRecorded,
    AttendanceVoided,
    ClaimAccepted,
    ClaimCompleted,
    ClaimReleased,
    RedemptionFact,
    ReviewPosted,
)
from services.points.app import SERVICE
from tests.harness import Databases, Person, ServiceUnderTest, operator, run_service

MORNING = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
AREA = UUID(int=0xA12EA)


@asynccontextmanager
async def run_points(databases: Databases, **options: Any) -> AsyncIterator[ServiceUnderTest]:
    """The service, with one area known."""
    async with run_service(SERVICE, databases, **options) as points:
        await points.add_area(AREA)
        yield points


def check_in(person_id: UUID, product_id: UUID | None = None, **changes: Any) -> AttendanceRecorded:
    values: dict[str, Any] = {
        "attendance_id": uuid4(),
        "person_id": person_id,
        "product_id": product_id or uuid4(),
        "session_id": None,
        "booking_id": None,
        "claim_id": uuid4(),
        "area_id": AREA,
        "title": "四点半儿童乐园",
        "action": "check_in",
        "at": MORNING,
        "minutes": None,
    }
    return AttendanceRecorded(**(values | changes))


def voided(recorded: AttendanceRecorded) -> AttendanceVoided:
    return AttendanceVoided(**recorded.model_dump(exclude={"action", "at", "minutes"}))


def claim(claimant_id: UUID, claimant_type: str = "member", **changes: Any) -> ClaimAccepted:
    values: dict[str, Any] = {
        "claim_id": uuid4(),
        "product_id": uuid4(),
        "area_id": AREA,
        "title": "党务直通车",
        "claimant_type": claimant_type,
        "claimant_id": claimant_id,
        "person_id": uuid4(),
        "lease_until": MORNING,
    }
    return ClaimAccepted(**(values | changes))


def completed(claimed: ClaimAccepted) -> ClaimCompleted:
    return ClaimCompleted(**claimed.model_dump(exclude={"lease_until"}))


def released(claimed: ClaimAccepted) -> ClaimReleased:
    return ClaimReleased(**claimed.model_dump(exclude={"lease_until"}), reason="released")


def review(claimant_id: UUID | None, stars: int = 5, claimant_type: str = "member") -> ReviewPosted:
    return ReviewPosted(
        review_id=uuid4(),
        subject_type="claim",
        subject_id=uuid4(),
        product_id=uuid4(),
        area_id=AREA,
        title="党务直通车",
        person_id=uuid4(),
        stars=stars,
        claimant_type=claimant_type if claimant_id else None,  # type: ignore[arg-type]
        claimant_id=claimant_id,
    )


def redemption(kind: type[RedemptionFact], person_id: UUID, redemption_id: UUID, points: int = 10) -> Any:
    more = {"reason": "person"} if "reason" in kind.model_fields else {}
    return kind(
        redemption_id=redemption_id,
        reward_id=UUID(int=1),
        centre_id=UUID(int=2),
        area_id=AREA,
        title="洗衣液",
        person_id=person_id,
        quantity=1,
        points=points,
        **more,
    )


async def give_points(points: ServiceUnderTest, person: Person, times: int = 1) -> None:
    """Ten points for each time."""
    await points.receive(*(check_in(person.id) for _ in range(times)))


async def account(points: ServiceUnderTest, person: Person, **options: Any) -> dict[str, Any]:
    """What `/me/points` says."""
    answer = await points.get("/me/points?limit=100", person=person, **options)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def require_sound_ledger(points: ServiceUnderTest) -> int:
    """The ledger adds up; returns its number of transfers."""
    answer = await points.get("/points/ledger/check", person=operator())
    assert answer.status_code == 200, answer.text
    found: dict[str, int] = answer.json()
    transfers = found.pop("transfers")
    assert found == {"sum": 0, "unbalanced_transfers": 0, "negative_accounts": 0, "mismatched_accounts": 0}
    return transfers


async def require_nothing_parked(points: ServiceUnderTest) -> None:
    async with points.db.transaction() as session:
        assert (await session.execute(text("SELECT type, cause FROM parked"))).all() == []
