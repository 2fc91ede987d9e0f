"""Rules as data: which facts are worth how many points or how much energy. Nothing else awards either."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from services.points.deeds import Deed
from services.points.models import Rule


async def rules_for(session: AsyncSession, event_type: str) -> Sequence[Rule]:
    """Every version of every rule about this type of fact."""
    found = await session.scalars(select(Rule).where(Rule.event_type == event_type).order_by(Rule.key, Rule.version))
    return found.all()


async def current_rules(session: AsyncSession, now: datetime) -> Sequence[Rule]:
    """The version of each rule that holds now."""
    everything = await session.scalars(select(Rule).order_by(Rule.key, Rule.version))
    return holding_at(everything.all(), now)


def holding_at(versions: Sequence[Rule], moment: datetime) -> Sequence[Rule]:
    """Of all versions, each rule's newest whose `valid_from` had come."""
    newest: dict[str, Rule] = {}
    for rule in versions:
        known = newest.get(rule.key)
        if rule.valid_from <= moment and (known is None or known.version < rule.version):
            newest[rule.key] = rule
    return list(newest.values())


def applies(rule: Rule, deed: Deed) -> bool:
    """Whether every condition's field of the fact has the value it asks for."""
    return all(deed.fields.get(field) == value for field, value in rule.conditions.items())


def worth(rule: Rule, deed: Deed) -> tuple[int, str]:
    """What the deed is worth by the rule, and the arithmetic as people read it."""
    if "base" in rule.amount:
        factor, count = int(rule.amount["base"]), 1
    else:
        factor, count = int(rule.amount["times"]), int(deed.fields[rule.amount["per"]])
    return factor * count, f"{factor} × {count} = {factor * count}"
