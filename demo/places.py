"""The ground of the story: the grid of areas, category schemes, organisations, centres. All set up by the operator."""

from __future__ import annotations

from demo.client import Thing
from demo.stage import Known, Stage, Steps

TIMEZONE = "Asia/Shanghai"


async def draw_areas(stage: Stage, steps: Steps) -> None:
    """Level by level, since an area names its parent."""
    known = Known(stage.operator, "/areas", "parent_id", "name")
    left = list(stage.script.areas)

    async def draw(area: Thing) -> None:
        parent = stage.ids[area["parent"]] if area["parent"] else None
        body = {"parent_id": parent, "level": area["level"], "name": area["name"], "name_en": area["name_en"]}
        there = known.find(parent, area["name"])
        there = there or await stage.operator.post("/areas", {**body, "timezone": TIMEZONE})
        stage.ids[area["key"]] = there["id"]

    while left:
        drawable = [area for area in left if area["parent"] is None or area["parent"] in stage.ids]
        await steps.each(drawable, draw, known.look)
        left = [area for area in left if area["key"] not in stage.ids]


async def name_categories(stage: Stage, steps: Steps) -> None:
    """Each community's own scheme."""
    known = Known(stage.operator, "/categories", "scheme", "key")
    wanted = [(scheme, category) for scheme in stage.script.categories for category in scheme["categories"]]

    async def name(wish: tuple[Thing, Thing]) -> None:
        scheme, category = wish
        words = {word: category[word] for word in ("key", "name", "name_en")}
        body = {"area_id": stage.ids[scheme["area"]], "scheme": scheme["key"], **words}
        there = known.find(scheme["key"], category["key"]) or await stage.operator.post("/categories", body)
        stage.ids[category["key"]] = there["id"]

    await steps.each(wanted, name, known.look)


async def register_organisations(stage: Stage, steps: Steps) -> None:
    await _found(stage, steps, "/organisations", stage.script.organisations, "kind")


async def open_centres(stage: Stage, steps: Steps) -> None:
    await _found(stage, steps, "/centres", stage.script.centres, "address")


async def _found(stage: Stage, steps: Steps, path: str, wanted: list[Thing], *more: str) -> None:
    """Whatever has an area and a name of its own there."""
    known = Known(stage.operator, path, "area_id", "name")

    async def found(thing: Thing) -> None:
        area_id = stage.ids[thing["area"]]
        words = {word: thing[word] for word in ("name", "name_en", *more)}
        there = known.find(area_id, thing["name"])
        there = there or await stage.operator.post(path, {"area_id": area_id, **words})
        stage.ids[thing["key"]] = there["id"]

    await steps.each(wanted, found, known.look)
