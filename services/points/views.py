"""What the routes of points answer."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field

from chassis.i18n import Locale, catalogue
from contracts.points import Asset
from services.points.models import Rule, ScoreKind, SubjectType, Transfer, TransferKind
from services.points.statements import Line


class PointsReasonView(BaseModel):
    """Why: the fact, and where a rule decided, which version of it and the arithmetic; `text` says it to people."""

    event_type: str | None
    event_id: UUID | None
    rule: str | None
    rule_version: int | None
    arithmetic: str | None
    text: str


class PointsEntryView(BaseModel):
    """One transfer: how it changed what is free (`amount`), held and owed. All entries sum to the balances."""

    id: UUID
    kind: TransferKind
    asset: Asset
    amount: int
    held: int
    debt: int
    at: AwareDatetime
    title: str | None
    reason: PointsReasonView


class PointsView(BaseModel):
    """A person's account, newest entries first. `debt` is owed for points taken back after they were spent."""

    balance: int
    held: int
    debt: int
    positive_energy: int
    entries: list[PointsEntryView]
    next_cursor: str | None


class PointsRuleView(BaseModel):
    """The current version of a rule."""

    key: str
    version: int
    event_type: str
    asset: Asset
    conditions: dict[str, Any]
    amount: dict[str, Any]
    text: str
    valid_from: AwareDatetime


class LedgerCheckView(BaseModel):
    """The ledger recomputed from its entries; all but `transfers` are zero when it is sound."""

    sum: int
    unbalanced_transfers: int
    negative_accounts: int
    mismatched_accounts: int
    transfers: int


class LeaderboardItemView(BaseModel):
    """One place on a leaderboard; equals share a rank."""

    rank: int
    subject_id: UUID
    subject_type: SubjectType
    score: int


class LeaderboardRankView(BaseModel):
    """The caller's own place."""

    rank: int
    score: int


class LeaderboardView(BaseModel):
    """The best of an area and season. `names` is filled at the door, by id."""

    area_id: UUID
    season: int
    kind: ScoreKind
    items: list[LeaderboardItemView]
    me: LeaderboardRankView | None
    names: dict[str, str] = Field(default_factory=dict)


def entry_view(line: Line, locale: Locale) -> PointsEntryView:
    """A line with its reason in one language."""
    transfer = line.transfer
    return PointsEntryView(
        id=transfer.id,
        kind=transfer.kind,
        asset=transfer.asset,
        amount=line.free,
        held=line.held,
        debt=line.debt,
        at=transfer.at,
        title=transfer.title,
        reason=PointsReasonView(
            event_type=transfer.event_type,
            event_id=transfer.event_id,
            rule=transfer.rule,
            rule_version=transfer.rule_version,
            arithmetic=transfer.arithmetic,
            text=_reason_text(transfer, line.rule, locale),
        ),
    )


def rule_view(rule: Rule, locale: Locale) -> PointsRuleView:
    """A rule in one language."""
    return PointsRuleView(
        key=rule.key,
        version=rule.version,
        event_type=rule.event_type,
        asset=rule.asset,
        conditions=rule.conditions,
        amount=rule.amount,
        text=_rule_text(rule, locale),
        valid_from=rule.valid_from,
    )


def _reason_text(transfer: Transfer, rule: Rule | None, locale: Locale) -> str:
    kind: str = transfer.kind
    if kind == "release" and transfer.event_id is None:
        kind = "timed_out"
    template: str = catalogue("services.points", locale)["reasons"][kind]
    return template.format(rule=_rule_text(rule, locale) if rule else "", amount=abs(transfer.amount))


def _rule_text(rule: Rule, locale: Locale) -> str:
    return rule.text_en if locale == "en" else rule.text
