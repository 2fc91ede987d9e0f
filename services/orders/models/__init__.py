"""The tables of orders, one module per topic."""

from services.orders.models import attendance, redemptions, reviews
from services.orders.models.base import Base
from services.orders.models.bookings import Booking
from services.orders.models.claims import Claim, ProgressUpdate
from services.orders.models.offers import Centre, Membership, ProductOffer, Registration, RewardOffer, SessionOffer

__all__ = [
    "Base",
    "Booking",
    "Centre",
    "Claim",
    "Membership",
    "ProductOffer",
    "ProgressUpdate",
    "Registration",
    "RewardOffer",
    "SessionOffer",
    "attendance",
    "redemptions",
    "reviews",
]
