"""What a person sees of their own account: balances, and one line per transfer with what it did to each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from contracts.points import Asset
from services.points.models import Account, Entry, Rule, Transfer
from services.points.postings import Subject


@dataclass(frozen=True, slots=True)
class Line:
    """A transfer, what it changed (`free`, `held`, `debt`), and the rule it followed, if any.

    The sums of `free`, `held` and `debt` over all lines are the balances.
    """

    transfer: Transfer
    free: int
    held: int
    debt: int
    rule: Rule | None


async def read_lines(
    session: AsyncSession, subject: Subject, asset: Asset | None, before: UUID | None, count: int
) -> Sequence[Line]:
    """The newest transfers of a subject, going on before one of them; at most `count`."""
    query = select(Transfer).where(Transfer.subject_type == subject.type, Transfer.subject_id == subject.id)
    if asset is not None:
        query = query.where(Transfer.asset == asset)
    if before is not None:
        query = query.where(Transfer.id < before)
    transfers = (await session.scalars(query.order_by(Transfer.id.desc()).limit(count))).all()
    changes = await _changes(session, [transfer.id for transfer in transfers])
    rules = await _rules(session, {transfer.rule for transfer in transfers if transfer.rule is not None})
    return [
        Line(
            transfer,
            changes.get((transfer.id, "main"), 0),
            changes.get((transfer.id, "held"), 0),
            -changes.get((transfer.id, "debt"), 0),
            rules.get((transfer.rule, transfer.rule_version)),
        )
        for transfer in transfers
    ]


async def _changes(session: AsyncSession, transfer_ids: Sequence[UUID]) -> dict[tuple[UUID, str], int]:
    rows = await session.execute(
        select(Entry.transfer_id, Account.purpose, func.sum(Entry.amount).label("amount"))
        .join(Account, Account.id == Entry.account_id)
        .where(Entry.transfer_id.in_(transfer_ids))
        .group_by(Entry.transfer_id, Account.purpose)
    )
    return {(row.transfer_id, row.purpose): int(row.amount) for row in rows}


async def _rules(session: AsyncSession, keys: set[str]) -> dict[tuple[str | None, int | None], Rule]:
    if not keys:
        return {}
    found = await session.scalars(select(Rule).where(Rule.key.in_(keys)))
    return {(rule.key, rule.version): rule for rule in found}
