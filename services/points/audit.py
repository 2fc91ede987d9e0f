"""The ledger checked from its entries, without trusting what was kept beside them."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession


@dataclass(frozen=True, slots=True)
class LedgerCheck:
    """All but `transfers` are zero in a sound ledger."""

    sum: int
    unbalanced_transfers: int
    negative_accounts: int
    mismatched_accounts: int
    transfers: int


async def check_ledger(session: AsyncSession) -> LedgerCheck:
    """Add up every entry, in one statement and so in one snapshot."""
    row = (
        await session.execute(
            text("""
                WITH folded AS (
                    SELECT accounts.purpose, accounts.balance, coalesce(sum(entries.amount), 0) AS recomputed
                    FROM accounts LEFT JOIN entries ON entries.account_id = accounts.id
                    GROUP BY accounts.id
                ), unbalanced AS (
                    SELECT transfer_id FROM entries GROUP BY transfer_id HAVING sum(amount) <> 0
                )
                SELECT (SELECT coalesce(sum(amount), 0) FROM entries)::bigint AS sum,
                       (SELECT count(*) FROM unbalanced) AS unbalanced_transfers,
                       (SELECT count(*) FROM folded WHERE purpose IN ('main', 'held') AND recomputed < 0)
                           AS negative_accounts,
                       (SELECT count(*) FROM folded WHERE balance <> recomputed) AS mismatched_accounts,
                       (SELECT count(*) FROM transfers) AS transfers
            """)
        )
    ).one()
    return LedgerCheck(*row)
