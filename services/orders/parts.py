"""What lives as long as an orders process: the batches in which contended requests are decided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from chassis.batching import GroupCommit
from services.orders.booking_views import BookingView
from services.orders.bookings import BookingRequest
from services.orders.claim_views import ClaimView
from services.orders.claims import ClaimRequest
from services.orders.redemptions import RedemptionRequest, RedemptionView


@dataclass(frozen=True)
class Parts:
    """One batch per kind of thing that people compete for."""

    claims: GroupCommit[ClaimRequest, ClaimView]
    bookings: GroupCommit[BookingRequest, BookingView]
    redemptions: GroupCommit[RedemptionRequest, RedemptionView]


async def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


CurrentParts = Annotated[Parts, Depends(_parts)]
