"""What orders listens to, and what it does about it."""

from __future__ import annotations

from chassis.inbox import Handlers
from contracts.catalog import (
    ProductChanged,
    ProductPublished,
    ProductWithdrawn,
    RewardPublished,
    SessionCancelled,
    SessionChanged,
    SessionScheduled,
)
from contracts.members import CentreOpened, MembershipConfirmed, RegistrationChanged
from contracts.points import HoldCaptured, HoldPlaced, HoldRefused, HoldReleased
from services.orders.changes import cancel_sessions, follow_session_terms
from services.orders.holds import follow_hold
from services.orders.offers import close_products, put_products, put_rewards
from services.orders.registrations import put_centres, put_memberships, put_registrations

HANDLERS: Handlers = {
    ProductPublished: put_products,
    ProductChanged: put_products,
    ProductWithdrawn: close_products,
    SessionScheduled: follow_session_terms,
    SessionChanged: follow_session_terms,
    SessionCancelled: cancel_sessions,
    RewardPublished: put_rewards,
    CentreOpened: put_centres,
    RegistrationChanged: put_registrations,
    MembershipConfirmed: put_memberships,
    HoldPlaced: follow_hold,
    HoldRefused: follow_hold,
    HoldCaptured: follow_hold,
    HoldReleased: follow_hold,
}
