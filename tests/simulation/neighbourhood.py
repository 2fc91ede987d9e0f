"""The neighbourhood in which every schedule begins: areas, people with some points, products, sessions, rewards."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

from services.members.people import register_person
from services.members.roles import hold_role
from tests.simulation.actions import WITH_POINTS
from tests.simulation.clients import Memory, Request
from tests.simulation.databases import Shelf
from tests.simulation.installation import Installation, first

NEIGHBOURS = 6


async def furnish(shelf: Shelf) -> Memory:
    """Fill the databases through the public API; what the clients know afterwards."""
    memory = Memory()
    installation = Installation(shelf, memory)
    await installation.start()
    installation.seed("furnish")
    try:
        await _Furnisher(installation).furnish()
        await installation.settle(random.Random(0))
    finally:
        await installation.stop()
    await shelf.keep()
    memory.now = installation.clock.time
    return memory


class _Furnisher:
    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.memory = installation.memory
        self.operator: Any = None

    async def post(self, service: str, path: str, body: Any, makes: str = "", person: Any = None) -> Any:
        process = self.installation.processes[f"{service}/0"]
        key = f"furnish-{path}-{len(self.memory.asked)}"
        request = Request(service, "POST", path, person or self.operator, body, key, makes)
        self.memory.asked.append(request)
        answer = await self.installation.ask(request, process)
        made = first(answer)
        assert answer is not None
        self.memory.note(request, answer)
        return made

    async def furnish(self) -> None:
        db = self.installation.processes["members/0"].runtime.db
        async with db.transaction() as session:
            self.operator = (await register_person(session, "en", "operator")).id
            await hold_role(session, self.operator, "operator")
        self.memory.of("operator").append(self.operator)
        root = await self.post("members", "/areas", {"level": "street", "name": "玉林街道"}, "area")
        below = {"parent_id": root["id"], "level": "community", "name": "玉林北路社区"}
        area = (await self.post("members", "/areas", below, "area"))["id"]
        await self._settle()
        await self._people(root["id"], area)
        await self._settle()
        await self._offers(area)
        await self._settle()
        await self._points()
        self.memory.asked.clear()

    async def _settle(self) -> None:
        await self.installation.settle(random.Random(0))

    async def _people(self, root: str, area: str) -> None:
        for number in range(NEIGHBOURS):
            body = {"display_name": f"居民{number}", "phone": f"1990000000{number}", "area_id": area}
            self.memory.of("person").append((await self.post("members", "/people", body))["person_id"])
        named = {"display_name": "网格员", "area_id": area}
        coordinator = (await self.post("members", "/people", named))["person_id"]
        self.memory.of("coordinator").append(coordinator)
        role = {"person_id": coordinator, "role": "coordinator", "area_id": root}
        await self.post("members", "/roles", role, "role")
        organisation = {"area_id": area, "name": "党支部", "kind": "branch"}
        made = (await self.post("members", "/organisations", organisation, "organisation"))["id"]
        admin = self.memory.of("person")[0]
        granted = {"person_id": admin, "role": "organisation_admin", "organisation_id": made}
        await self.post("members", "/roles", granted, "role")
        self.memory.of("admin").append(admin)
        for name in ("便民中心", "邻里中心"):
            centre = {"area_id": area, "name": name, "address": "玉林北路 1 号"}
            await self.post("members", "/centres", centre, "centre")

    async def _offers(self, area: str) -> None:
        for capacity in (1, 2, 3):
            product = {
                "area_id": area,
                "kind": "activity",
                "title": f"邻里活动{capacity}",
                "summary": "…",
                "claim_capacity": capacity,
                "publish": True,
            }
            made = await self.post("catalog", "/products", product, "product")
            self.memory.offer(made["id"], capacity)
            await self._session(made["id"], days=capacity, capacity=capacity + 1, automatic=capacity > 1)
        for centre, total in zip(self.memory.of("centre"), (2, 3), strict=True):
            stock = [{"centre_id": centre, "total": total}]
            reward = {"area_id": area, "title": "大米", "cost_points": total, "stock": stock}
            made = await self.post("catalog", "/rewards", reward, "reward")
            self.memory.offer(f"{made['id']} {centre}", total)

    async def _session(self, product: str, *, days: int, capacity: int, automatic: bool) -> None:
        starts = self.installation.clock.time + timedelta(days=days)
        body = {
            "starts_at": starts.isoformat(),
            "ends_at": (starts + timedelta(hours=2)).isoformat(),
            "venue": "党群服务中心",
            "capacity": capacity,
            "confirmation": "automatic" if automatic else "coordinator",
        }
        made = await self.post("catalog", f"/products/{product}/sessions", body, "session")
        self.memory.offer(made["id"], capacity)

    async def _points(self) -> None:
        """Some have been to the last product's session, and so have points to spend."""
        session, coordinator = self.memory.of("session")[-1], self.memory.of("coordinator")[0]
        for person in self.memory.of("person")[WITH_POINTS]:
            booked = await self.post("orders", f"/sessions/{session}/bookings", {"seats": 1}, "booking", person)
            came = {"booking_id": booked["id"], "action": "check_in"}
            await self.post("orders", "/attendances", came, "attendance", coordinator)
