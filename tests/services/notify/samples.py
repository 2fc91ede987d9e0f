"""One of each fact that notify tells people of, and a stand-in for members."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID, uuid4

import httpx

from contracts.catalog import NeedAccepted, NeedDeclined, NeedFulfilled
from contracts.event import Event
from contracts.members import MembershipConfirmed, RoleGranted
from contracts.orders import (
    AttendanceRecorded,
    BookingCancelled,
    BookingConfirmed,
    BookingPlaced,
    BookingWaitlisted,
    ClaimAccepted,
    ClaimCompleted,
    ClaimReleased,
    ClaimSigned,
    RedemptionCancelled,
    RedemptionCollected,
    RedemptionConfirmed,
    RedemptionRefused,
)
from contracts.points import Asset, PointsAwarded

PHONE = "13800001234"
CODE = "728194"
# 16:30 on a Friday in Shanghai.
FRIDAY = datetime(2026, 3, 6, 8, 30, tzinfo=UTC)
TITLE = "我为企业献一策"


def booking(person_id: UUID, **values: Any) -> dict[str, Any]:
    return {
        "booking_id": uuid4(),
        "session_id": uuid4(),
        "product_id": uuid4(),
        "area_id": uuid4(),
        "title": TITLE,
        "starts_at": FRIDAY,
        "person_id": person_id,
        "seats": 2,
        **values,
    }


def confirmed(person_id: UUID, **values: Any) -> BookingConfirmed:
    return BookingConfirmed(**booking(person_id, **values))


def points(
    person_id: UUID,
    amount: int = 10,
    asset: Asset = "points",
    subject_type: Literal["person", "organisation"] = "person",
) -> PointsAwarded:
    return PointsAwarded(
        transfer_id=uuid4(),
        subject_type=subject_type,
        subject_id=person_id,
        asset=asset,
        amount=amount,
        rule="participation",
        rule_version=1,
        title=TITLE,
    )


def samples(person_id: UUID) -> list[Event]:
    """Each type of fact, and each of its variants that are worded differently."""
    need: dict[str, Any] = {"need_id": uuid4(), "area_id": uuid4(), "person_id": person_id, "title": TITLE}
    claim: dict[str, Any] = {
        "claim_id": uuid4(),
        "product_id": uuid4(),
        "area_id": uuid4(),
        "title": TITLE,
        "claimant_type": "member",
        "claimant_id": person_id,
        "person_id": person_id,
    }
    attendance: dict[str, Any] = {
        "attendance_id": uuid4(),
        "person_id": person_id,
        "product_id": uuid4(),
        "session_id": uuid4(),
        "booking_id": uuid4(),
        "claim_id": None,
        "area_id": uuid4(),
        "title": TITLE,
        "at": FRIDAY,
    }
    redemption: dict[str, Any] = {
        "redemption_id": uuid4(),
        "reward_id": uuid4(),
        "centre_id": uuid4(),
        "area_id": uuid4(),
        "title": "大米 5kg",
        "person_id": person_id,
        "quantity": 2,
        "points": 80,
    }
    return [
        NeedAccepted(**need, product_id=uuid4()),
        NeedDeclined(**need, reason="已有同类项目"),
        NeedFulfilled(**need, product_id=uuid4()),
        ClaimAccepted(**claim, lease_until=FRIDAY),
        ClaimSigned(**claim),
        ClaimCompleted(**claim),
        ClaimReleased(**claim, reason="released"),
        ClaimReleased(**claim, reason="lease_expired"),
        BookingPlaced(**booking(person_id)),
        BookingConfirmed(**booking(person_id)),
        BookingWaitlisted(**booking(person_id), position=3),
        BookingCancelled(**booking(person_id), reason="person"),
        BookingCancelled(**booking(person_id), reason="coordinator"),
        BookingCancelled(**booking(person_id), reason="session_cancelled"),
        AttendanceRecorded(**attendance, action="check_in", minutes=None),
        AttendanceRecorded(**attendance, action="check_out", minutes=90),
        AttendanceRecorded(**attendance, action="check_out", minutes=None),
        points(person_id),
        points(person_id, amount=-10),
        RedemptionConfirmed(**redemption),
        RedemptionRefused(**redemption, reason="insufficient_points"),
        RedemptionRefused(**redemption, reason="cancelled"),
        RedemptionCancelled(**redemption, reason="person"),
        RedemptionCancelled(**redemption, reason="no_answer"),
        RedemptionCancelled(**redemption, reason="not_collected"),
        RedemptionCollected(**redemption),
        MembershipConfirmed(membership_id=uuid4(), organisation_id=uuid4(), person_id=person_id),
        RoleGranted(role_id=uuid4(), person_id=person_id, role="coordinator", area_id=uuid4(), organisation_id=None),
    ]


class Members:
    """Answers notify's look-ups; counts them, and fails as many of them as a test wants."""

    def __init__(self, *, phone: str | None = PHONE, locale: str = "zh-CN", failures: int = 0) -> None:
        self.phone = phone
        self.locale = locale
        self.failures = failures
        self.known = True
        self.asked: list[str] = []
        self.transport = httpx.MockTransport(self._answer)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.path)
        if not request.headers["authorization"].startswith("Bearer "):
            return httpx.Response(401)
        if self.failures:
            self.failures -= 1
            raise httpx.ConnectError(f"no way to {PHONE}")
        if not self.known:
            return httpx.Response(404)
        code = {"code": CODE} if request.url.path.startswith("/internal/challenges/") else {}
        return httpx.Response(200, json={"phone": self.phone, "locale": self.locale, **code})


async def eventually(check: Callable[[], Awaitable[Any]], within_s: float = 30) -> Any:
    """What `check` gives, once that is true."""
    async with asyncio.timeout(within_s):
        while True:
            found = await check()
            if found:
                return found
            await asyncio.sleep(0.01)
