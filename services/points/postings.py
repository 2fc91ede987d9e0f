"""What is posted: a transfer to be made, for whom, how much from where to where, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from contracts.points import Asset
from services.points.models import Purpose, SubjectType, TransferKind


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


def award(amount: int) -> dict[Purpose, int]:
    """Moves that give a subject `amount`."""
    return {"issued": -amount, "main": amount}


def take(amount: int, balances: Balances, to: Purpose) -> dict[Purpose, int]:
    """Moves that take `amount` from what is free, and from `debt` (below zero) what that does not cover."""
    covered = min(amount, balances.main)
    moves: dict[Purpose, int] = {"main": -covered, "debt": covered - amount, to: amount}
    return {purpose: moved for purpose, moved in moves.items() if moved}
