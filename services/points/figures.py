"""What points can say of itself in figures."""

from __future__ import annotations

from sqlalchemy import Integer, cast, func, select

from chassis.figures import Figure
from services.points.models import Account

# Of the balances kept beside the entries; `services.points.audit` adds up the entries themselves.
_sums = select(func.sum(Account.balance).label("sum")).group_by(Account.asset).subquery()

FIGURES = [
    Figure(
        "ledger_imbalance",
        "What the balances of all accounts differ from zero; anything but 0 is a defect",
        select(cast(func.coalesce(func.sum(func.abs(_sums.c.sum)), 0), Integer)),
    )
]
