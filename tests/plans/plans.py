"""How PostgreSQL runs the statements that a use case really executes: captured on their way, and explained again.

    async with captured(orders.db) as plans:
        await orders.post("/products/…/claims", …)
    require_indexes(plans, "pk_product_offers", …)

Each statement is planned for the parameters it had, and for any: a prepared statement that came a few times is run by
the plan for any parameters, if PostgreSQL thinks that no dearer than to plan anew each time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, event

from chassis.db import Database
from tests.plans.crowd import FEW

EXPLAIN = "EXPLAIN (FORMAT JSON) "


@dataclass(frozen=True)
class Plan:
    """One statement and its plan, node by node."""

    statement: str
    nodes: tuple[dict[str, Any], ...]

    @property
    def read_whole(self) -> set[str]:
        """Growing tables that it reads from end to end."""
        return {node["Relation Name"] for node in self.nodes if node["Node Type"] == "Seq Scan"} - FEW

    @property
    def cost(self) -> float:
        return float(self.nodes[0]["Total Cost"])

    @property
    def planning_cost(self) -> float:
        """What PostgreSQL charges for planning anew (`cached_plan_cost`)."""
        return 2.5 * (1 + sum("Relation Name" in node for node in self.nodes))

    @property
    def indexes(self) -> set[str]:
        """Those it looks up in, and those by which an insert sees that the row is there."""
        looked_up = {node["Index Name"] for node in self.nodes if "Index Name" in node}
        return looked_up.union(*(node.get("Conflict Arbiter Indexes", ()) for node in self.nodes))


@asynccontextmanager
async def captured(db: Database) -> AsyncIterator[list[Plan]]:
    """The plans of all statements executed within the block, once it ends."""
    seen: dict[str, Any] = {}

    def note(_: Connection, __: Any, statement: str, parameters: Any, *rest: Any) -> None:
        if statement.lstrip().upper().startswith(("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")):
            seen.setdefault(statement, parameters[0] if isinstance(parameters, list) else parameters)

    plans: list[Plan] = []
    event.listen(db.engine.sync_engine, "before_cursor_execute", note)
    try:
        yield plans
    finally:
        event.remove(db.engine.sync_engine, "before_cursor_execute", note)
    plans += [plan for statement, parameters in seen.items() for plan in await _explained(db, statement, parameters)]


async def _explained(db: Database, statement: str, parameters: Any) -> list[Plan]:
    async with db.engine.connect() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        [given] = await driver.fetchval(EXPLAIN + statement, *parameters)
        await driver.execute("SET plan_cache_mode = force_generic_plan")
        await driver.execute(f"PREPARE probe AS {statement}")
        nothing = f"({', '.join(['NULL'] * len(parameters))})" if parameters else ""
        [anyhow] = await driver.fetchval(f"{EXPLAIN} EXECUTE probe{nothing}")
        await driver.execute("DEALLOCATE probe; RESET plan_cache_mode")
    plans = [Plan(statement, tuple(_nodes(found["Plan"]))) for found in (given, anyhow)]
    return plans if plans[1].cost < plans[0].cost + plans[0].planning_cost else plans[:1]


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for below in node.get("Plans", ()):
        yield from _nodes(below)


def require_indexes(plans: list[Plan], *indexes: str) -> None:
    """No statement reads a growing table from end to end, and these indexes are used."""
    assert plans, "nothing was captured"
    for plan in plans:
        assert not plan.read_whole, f"reads all of {plan.read_whole}: {plan.statement}"
    used = {index for plan in plans for index in plan.indexes}
    assert used >= set(indexes), f"not used: {set(indexes) - used}; used: {sorted(used)}"
