"""What notify can say of itself in figures."""

from __future__ import annotations

from sqlalchemy import func, select

from chassis.figures import LATE_BEFORE, Figure
from services.notify.models import Delivery

_open = select(func.count()).select_from(Delivery).where(Delivery.state.in_(["waiting", "sending"]))

FIGURES = [
    Figure("deliveries_waiting", "Deliveries that are neither sent nor given up", _open),
    Figure("deliveries_overdue", "Deliveries that were due a minute ago", _open.where(Delivery.due_at < LATE_BEFORE)),
]
