"""The ledger: every change of points or energy is a transfer whose entries sum to zero, posted here and only added to.

An award moves from the system's `issued` account to the subject's `main`; a hold from `main` to `held`; a capture from
`held` to the system's `spent`; a release back to `main`. `main` and `held` are never below zero. What has to be taken
and is not there any more goes to `debt`, which is never above zero; the next points that come in pay it, so a subject
never has free points and a debt at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast
from uuid import UUID, uuid5

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.db import world_of
from contracts.points import Asset
from services.points.models import Account, Entry, Purpose, SubjectType, Transfer, TransferKind

# Any fixed number: who holds this advisory lock in the service's database writes to the ledger.
LEDGER_LOCK = 0x4C_45_44
SYSTEM_OWNER_ID = UUID(int=0)
SYSTEM_PURPOSES = ("issued", "spent")


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose points or energy it is."""

    type: SubjectType
    id: UUID


@dataclass(frozen=True, slots=True)
class Reason:
    """Why: the fact, and where a rule decided, rule and arithmetic. All empty where time alone decided."""

    event_type: str | None = None
    event_id: UUID | None = None
    rule: str | None = None
    rule_version: int | None = None
    arithmetic: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where and when it scores: the areas from the root to the event's own, and the season."""

    areas: tuple[UUID, ...]
    season: int


@dataclass(frozen=True, slots=True)
class Posting:
    """One transfer to make. `moves` says how much to which of the subject's accounts, and of the system's."""

    id: UUID
    kind: TransferKind
    dedupe_key: str
    subject: Subject
    asset: Asset
    amount: int
    moves: Mapping[Purpose, int]
    title: str | None
    reason: Reason
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Balances:
    """What a subject has of one asset; `debt` is zero or less."""

    main: int
    held: int
    debt: int


async def lock_ledger(session: AsyncSession) -> None:
    """Be the only writer until the transaction ends; call it before reading what a posting depends on.

    One lock and not the accounts' rows: a batch runs the handlers of several facts in one transaction, so any order of
    accounts could be taken in a circle; and every award writes the same system account anyway.
    """
    await session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LEDGER_LOCK})


async def post(session: AsyncSession, postings: Sequence[Posting]) -> list[Posting]:
    """Make the transfers; returns those that were new by kind and dedupe key. Debts are paid from what came in."""
    posted = await _write(session, postings)
    settlements = await _settle_debts(session, posted)
    await _write(session, settlements)
    return posted


def award(amount: int) -> dict[Purpose, int]:
    """Moves that give a subject `amount`."""
    return {"issued": -amount, "main": amount}


def take(amount: int, balances: Balances, to: Purpose) -> dict[Purpose, int]:
    """Moves that take `amount` from what is free, and from `debt` (below zero) what that does not cover."""
    covered = min(amount, balances.main)
    moves: dict[Purpose, int] = {"main": -covered, "debt": covered - amount, to: amount}
    return {purpose: moved for purpose, moved in moves.items() if moved}


async def balances_of(session: AsyncSession, subject: Subject, asset: Asset) -> Balances:
    """What the subject has now; all zero for one that the ledger has not met."""
    rows = await session.execute(
        select(Account.purpose, Account.balance).where(
            Account.owner_type == subject.type, Account.owner_id == subject.id, Account.asset == asset
        )
    )
    found = {row.purpose: row.balance for row in rows}
    return Balances(found.get("main", 0), found.get("held", 0), found.get("debt", 0))


def account_id(owner_type: str, owner_id: UUID, asset: Asset, purpose: Purpose) -> UUID:
    """An account's id follows from what it is, so that posting a batch needs no look-up."""
    return uuid5(owner_id, f"{owner_type}/{asset}/{purpose}")


def _account(posting: Posting, purpose: Purpose) -> UUID:
    if purpose in SYSTEM_PURPOSES:
        return account_id("system", SYSTEM_OWNER_ID, posting.asset, purpose)
    return account_id(posting.subject.type, posting.subject.id, posting.asset, purpose)


async def _write(session: AsyncSession, postings: Sequence[Posting]) -> list[Posting]:
    if not postings:
        return []
    now = world_of(session).now()
    rows = [
        {
            "id": posting.id,
            "kind": posting.kind,
            "dedupe_key": posting.dedupe_key,
            "subject_type": posting.subject.type,
            "subject_id": posting.subject.id,
            "asset": posting.asset,
            "amount": posting.amount,
            "title": posting.title,
            "event_type": posting.reason.event_type,
            "event_id": posting.reason.event_id,
            "rule": posting.reason.rule,
            "rule_version": posting.reason.rule_version,
            "arithmetic": posting.reason.arithmetic,
            "areas": list(posting.place.areas) if posting.place else None,
            "season": posting.place.season if posting.place else None,
            "at": now,
        }
        for posting in postings
    ]
    new = insert(Transfer).on_conflict_do_nothing(index_elements=["kind", "dedupe_key"]).returning(Transfer.id)
    ids = set((await session.scalars(new, rows)).all())
    posted = [posting for posting in postings if posting.id in ids]
    if posted:
        await _open_accounts(session, posted)
        await _enter(session, posted)
    return posted


async def _open_accounts(session: AsyncSession, postings: Iterable[Posting]) -> None:
    accounts: dict[UUID, dict[str, object]] = {}
    for posting in postings:
        for purpose in posting.moves:
            owned = purpose not in SYSTEM_PURPOSES
            opened = _account(posting, purpose)
            accounts[opened] = {
                "id": opened,
                "owner_type": posting.subject.type if owned else "system",
                "owner_id": posting.subject.id if owned else SYSTEM_OWNER_ID,
                "asset": posting.asset,
                "purpose": purpose,
                "balance": 0,
            }
    await session.execute(insert(Account).on_conflict_do_nothing(), list(accounts.values()))


async def _enter(session: AsyncSession, postings: Iterable[Posting]) -> None:
    """Write the entries and bring the balances of their accounts up to them."""
    entries: list[dict[str, object]] = []
    changes: Counter[UUID] = Counter()
    for posting in postings:
        for purpose, amount in posting.moves.items():
            account = _account(posting, purpose)
            entries.append({"transfer_id": posting.id, "account_id": account, "amount": amount})
            changes[account] += amount
    await session.execute(insert(Entry), entries)
    await session.execute(
        text(
            "UPDATE accounts SET balance = balance + change.amount"
            " FROM unnest(CAST(:ids AS uuid[]), CAST(:amounts AS bigint[])) AS change (id, amount)"
            " WHERE accounts.id = change.id"
        ),
        {"ids": list(changes), "amounts": list(changes.values())},
    )


async def _settle_debts(session: AsyncSession, posted: Sequence[Posting]) -> list[Posting]:
    """Settlements for the subjects who received something and owe something; each cites what it was paid from."""
    causes = {_account(posting, "debt"): posting for posting in posted if posting.moves.get("main", 0) > 0}
    if not causes:
        return []
    owing = select(Account.id, Account.balance).where(Account.id.in_(causes), Account.balance < 0)
    settlements = []
    for row in (await session.execute(owing)).all():
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
