"""Routes: one's own points, the rules, the check of the ledger."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import Query

from chassis.api import Api, CurrentWorld, Db, Paging, RequestLocale, page
from chassis.auth import PUBLIC, SIGNED_IN, CurrentPrincipal, roles
from contracts.points import Asset
from services.points.audit import check_ledger
from services.points.ledger import balances_of
from services.points.postings import Subject
from services.points.rules import current_rules
from services.points.statements import read_lines
from services.points.views import LedgerCheckView, PointsRuleView, PointsView, entry_view, rule_view

api = Api("points")


@api.get("/me/points", policy=SIGNED_IN)
async def read_my_points(
    principal: CurrentPrincipal,
    db: Db,
    paging: Paging,
    locale: RequestLocale,
    asset: Annotated[Asset | None, Query()] = None,
) -> PointsView:
    """The caller's balances, and why they are what they are: newest entries first."""
    me = Subject("person", principal.person_id)
    before = paging.after_id()
    async with db.transaction() as session:
        points = await balances_of(session, me, "points")
        energy = await balances_of(session, me, "energy")
        lines = await read_lines(session, me, asset, before, paging.limit + 1)
    shown, next_cursor = page(lines, paging.limit, lambda line: (line.transfer.id,))
    return PointsView(
        balance=points.main,
        held=points.held,
        debt=-points.debt,
        positive_energy=energy.main,
        entries=[entry_view(line, locale) for line in shown],
        next_cursor=next_cursor,
    )


@api.get("/points/rules", policy=PUBLIC)
async def list_points_rules(db: Db, world: CurrentWorld, locale: RequestLocale) -> list[PointsRuleView]:
    """What earns points and positive energy, by the rules that hold now."""
    async with db.transaction() as session:
        return [rule_view(rule, locale) for rule in await current_rules(session, world.now())]


@api.get("/points/ledger/check", policy=roles("operator"))
async def read_ledger_check(db: Db) -> LedgerCheckView:
    """The ledger recomputed from its entries."""
    async with db.transaction() as session:
        return LedgerCheckView(**asdict(await check_ledger(session)))
