"""What orders can say of itself in figures."""

from __future__ import annotations

from sqlalchemy import func, select

from chassis.figures import LATE_BEFORE, Figure
from services.orders.models.redemptions import Redemption

_open = select(func.count()).select_from(Redemption).where(Redemption.deadline.is_not(None))

FIGURES = [
    Figure("open_sagas", "Redemptions that have not ended: requested, or waiting to be collected", _open),
    Figure("overdue_sagas", "Redemptions past their deadline", _open.where(Redemption.deadline < LATE_BEFORE)),
]
