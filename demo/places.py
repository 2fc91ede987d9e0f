"""The ground of the story: the grid of areas, category schemes, organisations, centres. All set up by the operator."""

from __future__ import annotations

from typing import Any

from demo.client import Thing
from demo.stage import Stage, Steps, by_name

TIMEZONE = "Asia/Shanghai"


async def draw_areas(stage: Stage, steps: Steps) -> None:
    """Level by level, since an area names its parent."""
    known = by_name(await stage.operator.list("/areas"), "parent_id", "name")
    left = list(stage.script.areas)

    async def draw(area: Thing) -> None:
        parent = stage.ids[area["parent"]] if area["parent"] else None
        found = known.get((parent, area["name"]))
        if found is None:
            body = {"parent_id": parent, "level": area["level"], "name": area["name"], "name_en": area["name_en"]}
            found = (await stage.operator.post("/areas", {**body, "timezone": TIMEZONE}))["id"]
        stage.ids[area["key"]] = found

    while left:
        drawable = [area for area in left if area["parent"] is None or area["parent"] in stage.ids]
        await steps.each(drawable, draw)
        left = [area for area in left if area["key"] not in stage.ids]


async def name_categories(stage: Stage, steps: Steps) -> None:
    """Each community's own scheme."""
    known = by_name(await stage.operator.list("/categories"), "scheme", "key")
    wanted = [(scheme, category) for scheme in stage.script.categories for category in scheme["categories"]]

    async def name(wish: tuple[Thing, Thing]) -> None:
        scheme, category = wish
        found = known.get((scheme["key"], category["key"]))
        if found is None:
            body = {
                "area_id": stage.ids[scheme["area"]],
                "scheme": scheme["key"],
                "key": category["key"],
                "name": category["name"],
                "name_en": category["name_en"],
            }
            found = (await stage.operator.post("/categories", body))["id"]
        stage.ids[category["key"]] = found

    await steps.each(wanted, name)


async def register_organisations(stage: Stage, steps: Steps) -> None:
    await _found(stage, steps, "/organisations", stage.script.organisations, "kind")


async def open_centres(stage: Stage, steps: Steps) -> None:
    await _found(stage, steps, "/centres", stage.script.centres, "address")


async def _found(stage: Stage, steps: Steps, path: str, wanted: list[Thing], *more: str) -> None:
    """Whatever has an area and a name of its own there."""
    known = by_name(await stage.operator.list(path), "area_id", "name")

    async def found(thing: Thing) -> None:
        area_id = stage.ids[thing["area"]]
        there = known.get((area_id, thing["name"]))
        if there is None:
            body: dict[str, Any] = {name: thing[name] for name in ("name", "name_en", *more)}
            there = (await stage.operator.post(path, {"area_id": area_id, **body}))["id"]
        stage.ids[thing["key"]] = there

    await steps.each(wanted, found)
