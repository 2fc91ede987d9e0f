"""How postings become rows: transfers, their entries, and the balances of the accounts, a statement each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from uuid import UUID, uuid5

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.arrays import array_literal, arrays, insert_arrays
from chassis.db import world_of
from contracts.points import Asset
from services.points.models import Account, Entry, Purpose, Transfer
from services.points.postings import Posting

SYSTEM_OWNER_ID = UUID(int=0)
SYSTEM_PURPOSES = ("issued", "spent")
# Accounts that are zero or less; all others are zero or more.
NEGATIVE_PURPOSES = ("issued", "debt")

_TRANSFER = (
    *("id", "kind", "dedupe_key", "subject_type", "subject_id", "asset", "amount", "title"),
    *("event_type", "event_id", "rule", "rule_version", "arithmetic", "areas", "season", "at"),
)
_ENTRY = ("transfer_id", "account_id", "amount")
_ACCOUNT = ("id", "owner_type", "owner_id", "asset", "purpose", "balance")

_NEW_TRANSFERS = (
    insert_arrays(Transfer, _TRANSFER)
    .on_conflict_do_nothing(index_elements=["kind", "dedupe_key"])
    .returning(Transfer.id)
)
_NEW_ENTRIES = insert_arrays(Entry, _ENTRY)
_GROWN = insert_arrays(Account, _ACCOUNT)
_GROWN = _GROWN.on_conflict_do_update(
    index_elements=["id"], set_={"balance": Account.balance + _GROWN.excluded.balance}
)
_SHRUNK = text(
    "UPDATE accounts SET balance = balance + change.amount"
    " FROM unnest(CAST(:ids AS uuid[]), CAST(:amounts AS bigint[])) AS change (id, amount)"
    " WHERE accounts.id = change.id"
)

# What makes an account, in the order of its columns.
AccountKey = tuple[str, UUID, Asset, Purpose]


async def write_postings(session: AsyncSession, postings: Sequence[Posting]) -> list[Posting]:
    """Write transfers, entries and balances; returns the postings that were new by kind and dedupe key."""
    if not postings:
        return []
    now = world_of(session).now()
    rows = [_transfer(posting, now) for posting in postings]
    new = set((await session.scalars(_NEW_TRANSFERS, arrays(_TRANSFER, rows))).all())
    posted = [posting for posting in postings if posting.id in new]
    if posted:
        await _enter(session, posted)
    return posted


def _transfer(posting: Posting, now: datetime) -> tuple[object, ...]:
    subject, reason, place = posting.subject, posting.reason, posting.place
    return (
        *(posting.id, posting.kind, posting.dedupe_key, subject.type, subject.id, posting.asset, posting.amount),
        *(posting.title, reason.event_type, reason.event_id, reason.rule, reason.rule_version, reason.arithmetic),
        *((array_literal(place.areas), place.season) if place else (None, None)),
        now,
    )


async def _enter(session: AsyncSession, postings: Sequence[Posting]) -> None:
    """Bring the balances up to the entries, opening accounts where there are none, and write the entries."""
    entries = []
    changes: Counter[AccountKey] = Counter()
    for posting in postings:
        for purpose, amount in posting.moves.items():
            account = _account(posting, purpose)
            entries.append((posting.id, account_id(*account), amount))
            changes[account] += amount
    await _change_balances(session, changes)
    await session.execute(_NEW_ENTRIES, arrays(_ENTRY, entries))


async def _change_balances(session: AsyncSession, changes: Counter[AccountKey]) -> None:
    """An account that shrinks is there already; one that grows may be new.

    They are two statements, since a row that is only proposed has to keep the sign of its account as well.
    """
    grown = [(account_id(*key), *key, change) for key, change in changes.items() if _grows(key, change)]
    shrunk = {account_id(*key): change for key, change in changes.items() if not _grows(key, change)}
    if grown:
        await session.execute(_GROWN, arrays(_ACCOUNT, grown))
    if shrunk:
        await session.execute(_SHRUNK, {"ids": list(shrunk), "amounts": list(shrunk.values())})


def _grows(account: AccountKey, change: int) -> bool:
    return change <= 0 if account[-1] in NEGATIVE_PURPOSES else change >= 0


def _account(posting: Posting, purpose: Purpose) -> AccountKey:
    if purpose in SYSTEM_PURPOSES:
        return "system", SYSTEM_OWNER_ID, posting.asset, purpose
    return posting.subject.type, posting.subject.id, posting.asset, purpose


@lru_cache(maxsize=10_000)
def account_id(owner_type: str, owner_id: UUID, asset: Asset, purpose: Purpose) -> UUID:
    """An account's id follows from what it is, so that posting a batch needs no look-up."""
    return uuid5(owner_id, f"{owner_type}/{asset}/{purpose}")
