"""The people of the story: signed up at the desk, given their roles, registered (报到), members of organisations."""

from __future__ import annotations

from demo.client import Thing
from demo.stage import Stage, Steps

# Of the roles in the data these are granted; residents and members are what people become by themselves.
ROLES = {"organisation_admin": "organisation", "coordinator": "area", "merchant": "area", "device": "area"}


async def sign_up(stage: Stage, steps: Steps) -> None:
    """At the desk, by phone number: somebody known by it stays who they are."""

    async def sign_up_one(person: Thing) -> None:
        area_id = stage.ids[person["area"]]
        body = {"display_name": person["display_name"], "phone": person["phone"], "area_id": area_id}
        stage.ids[person["key"]] = (await stage.operator.post("/people", body))["person_id"]

    await steps.each(stage.script.people, sign_up_one)


async def grant_roles(stage: Stage, steps: Steps) -> None:
    async def grant(person: Thing) -> None:
        scope = ROLES[person["role"]]
        body = {"person_id": stage.ids[person["key"]], "role": person["role"], f"{scope}_id": stage.ids[person[scope]]}
        await stage.operator.post("/roles", body)

    await steps.each([person for person in stage.script.people if person["role"] in ROLES], grant)


async def join_organisations(stage: Stage, steps: Steps) -> None:
    """The desk registered everybody where they live; now they register where their unit is, too (双报到), and join it.

    The unit (here: the operator for it) confirms last, so that whoever is a member needs nothing more.
    """
    joining = [person for person in stage.script.people if "organisation" in person]
    members: set[tuple[str, str]] = set()  # organisation and person

    async def look(organisation: str) -> None:
        confirmed = await stage.operator.list(f"/organisations/{stage.ids[organisation]}/members", status="confirmed")
        members.update((organisation, member["person_id"]) for member in confirmed)

    async def join(person: Thing) -> None:
        organisation, person_id = person["organisation"], stage.ids[person["key"]]
        if (organisation, person_id) in members:
            return
        account = stage.account(person["key"])
        unit = {"area_id": stage.ids[stage.area_of[organisation]], "organisation_id": stage.ids[organisation]}
        await account.post("/registrations", {**unit, "kind": "work"})
        path = f"/organisations/{stage.ids[organisation]}/members"
        await account.post(path)
        await stage.operator.post(f"{path}/{person_id}/confirm")

    await steps.each({person["organisation"] for person in joining}, look)
    await steps.each(joining, join)
