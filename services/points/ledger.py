"""The ledger: every change of points or energy is a transfer whose entries sum to zero, posted here and only added to.

An award moves from the system's `issued` account to the subject's `main`; a hold from `main` to `held`; a capture from
`held` to the system's `spent`; a release back to `main`. `main` and `held` are never below zero. What has to be taken
and is not there any more goes to `debt`, which is never above zero; the next points that come in pay it, so a subject
never has free points and a debt at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast
from uuid import UUID

from sqlalchemy import Uuid, any_, bindparam, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.db import world_of
from contracts.points import Asset
from services.points.journal import account_id, write_postings
from services.points.models import Account, Purpose
from services.points.postings import Balances, Posting, Reason, Subject

# Any fixed number: who holds this advisory lock in the service's database writes to the ledger.
LEDGER_LOCK = 0x4C_45_44

_OWING = select(Account.id, Account.balance).where(
    Account.id == any_(bindparam("ids", type_=ARRAY(Uuid))), Account.balance < 0
)


async def lock_ledger(session: AsyncSession) -> None:
    """Be the only writer until the transaction ends; call it before reading what a posting depends on.

    One lock and not the accounts' rows: a batch runs the handlers of several facts in one transaction, so any order of
    accounts could be taken in a circle; and every award writes the same system account anyway.
    """
    await session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LEDGER_LOCK})


async def post(session: AsyncSession, postings: Sequence[Posting]) -> list[Posting]:
    """Make the transfers; returns those that were new by kind and dedupe key. Debts are paid from what came in."""
    posted = await write_postings(session, postings)
    await write_postings(session, await _settle_debts(session, posted))
    return posted


async def balances_of(session: AsyncSession, subject: Subject, asset: Asset) -> Balances:
    """What the subject has now; all zero for one that the ledger has not met."""
    rows = await session.execute(
        select(Account.purpose, Account.balance).where(
            Account.owner_type == subject.type, Account.owner_id == subject.id, Account.asset == asset
        )
    )
    found = {row.purpose: row.balance for row in rows}
    return Balances(found.get("main", 0), found.get("held", 0), found.get("debt", 0))


async def _settle_debts(session: AsyncSession, posted: Sequence[Posting]) -> list[Posting]:
    """Settlements for the subjects who received something and owe something; each cites what it was paid from."""
    causes = {_debt_of(posting): posting for posting in posted if posting.moves.get("main", 0) > 0}
    if not causes:
        return []
    settlements = []
    for row in (await session.execute(_OWING, {"ids": list(causes)})).all():
        cause = causes[row.id]
        free = await balances_of(session, cause.subject, cause.asset)
        paid = min(free.main, -row.balance)
        if not paid:
            continue
        moves = cast(dict[Purpose, int], {"main": -paid, "debt": paid})
        event = Reason(cause.reason.event_type, cause.reason.event_id)
        settlements.append(
            Posting(
                id=world_of(session).new_id(),
                kind="settlement",
                dedupe_key=str(cause.id),
                subject=cause.subject,
                asset=cause.asset,
                amount=-paid,
                moves=moves,
                title=cause.title,
                reason=event,
            )
        )
    return settlements


def _debt_of(posting: Posting) -> UUID:
    return account_id(posting.subject.type, posting.subject.id, posting.asset, "debt")
