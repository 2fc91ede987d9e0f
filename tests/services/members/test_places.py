"""Areas, organisations, centres: who adds them where, what is told, how they are found."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.members import AreaChanged, CentreOpened, OrganisationRegistered
from services.members.areas import LEVELS
from services.members.phones import mask, normalise
from tests.harness import Person, coordinator, operator
from tests.services.members.conftest import Members


def names(answer) -> list[str]:
    return [item["name"] for item in answer.json()["items"]]


async def test_an_area_is_told_with_its_path_and_its_event_coming_back_changes_nothing(members: Members):
    city = await members.area(level="city", name="成都市", name_en="Chengdu")
    district = await members.area(city, level="district", name="武侯区")
    envelopes = await members.envelopes(AreaChanged)
    fact = envelopes[1].data
    assert (str(fact.area_id), fact.path, envelopes[1].sequence) == (district, [UUID(city), UUID(district)], 1)
    await members.deliver(*envelopes, *envelopes)
    assert (await members.get(f"/areas/{district}")).json() == {
        "id": district,
        "parent_id": city,
        "path": [city, district],
        "level": "district",
        "name": "武侯区",
        "name_en": None,
        "timezone": "Asia/Shanghai",
        "active": True,
    }


async def test_rights_hold_in_a_new_area_before_its_event_came_back(members: Members):
    city = await members.area(level="city")
    street = await members.area(city, level="street")
    body = {"parent_id": street, "level": "community", "name": "玉林北路社区"}
    assert (await members.post("/areas", person=coordinator(UUID(city)), json=body)).status_code == 201


async def test_a_coordinator_adds_below_their_own_area_only_and_only_an_operator_a_root(members: Members):
    city = await members.area(level="city")
    mine, other = [await members.area(city, level="district") for _ in range(2)]
    ann = coordinator(UUID(mine))
    community = {"level": "community", "name": "社区"}
    assert (await members.post("/areas", person=ann, json={**community, "parent_id": mine})).status_code == 201
    for body in ({**community, "parent_id": other}, {**community, "parent_id": city}, community):
        assert (await members.post("/areas", person=ann, json=body)).status_code == 403
    assert (await members.post("/areas", person=Person(), json=community)).status_code == 403
    assert (await members.post("/areas", json=community)).status_code == 401


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"level": "city"}, "body.level"),
        ({"level": "village"}, "body.level"),
        ({"parent_id": str(uuid4())}, "body.parent_id"),
        ({"timezone": "../etc/passwd"}, "body.timezone"),
        ({"timezone": "localtime"}, "body.timezone"),
        ({"name": "  "}, "body.name"),
        ({"name": "a\x00b"}, "body.name"),
        ({"name": "长" * 121}, "body.name"),
        ({"path": []}, "body.path"),
    ],
)
async def test_a_bad_field_of_an_area_is_named(members: Members, change: dict[str, object], field: str):
    city = await members.area(level="city")
    body = {"parent_id": city, "level": "district", "name": "武侯区", **change}
    answer = await members.post("/areas", person=operator(), json=body)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


async def test_only_a_narrower_level_goes_below_another(members: Members):
    for index, level in enumerate(LEVELS):
        parent = await members.area(level=level)
        for child_index, child in enumerate(LEVELS):
            body = {"parent_id": parent, "level": child, "name": "x"}
            answer = await members.post("/areas", person=operator(), json=body)
            assert answer.status_code == (201 if child_index > index else 422)


async def test_areas_are_found_by_parent_level_and_two_characters_of_the_name(members: Members):
    city = await members.area(level="city", name="成都市", name_en="Chengdu")
    await members.area(city, level="district", name="武侯区")
    await members.area(city, level="district", name="百分%区")
    assert names(await members.get("/areas", params={"parent_id": city})) == ["百分%区", "武侯区"]
    assert names(await members.get("/areas", params={"level": "city"})) == ["成都市"]
    assert names(await members.get("/areas", params={"q": "武侯"})) == ["武侯区"]
    assert names(await members.get("/areas", params={"q": "CHENG"})) == ["成都市"]
    assert names(await members.get("/areas", params={"q": "%"})) == ["百分%区"]


async def test_pages_show_every_area_once(members: Members):
    city = await members.area(level="city")
    added = [await members.area(city, level="street") for _ in range(5)]
    seen: list[str] = []
    cursor = None
    while True:
        page = (
            await members.get(
                "/areas", params={"parent_id": city, "limit": 2, **({"cursor": cursor} if cursor else {})}
            )
        ).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == added[::-1]


@pytest.mark.parametrize("cursor", ["x", "WzVd", "W10=", "eyJhIjoxfQ==", "é", "W251bGxd"])
async def test_a_cursor_that_is_none_of_ours_is_refused(members: Members, cursor: str):
    assert (await members.get("/areas", params={"cursor": cursor})).status_code == 422


async def test_organisations_are_registered_by_the_areas_coordinator_and_found_in_its_subtree(members: Members):
    city = await members.area(level="city")
    here, there = [await members.area(city) for _ in range(2)]
    body = {"area_id": here, "name": "种子站党支部", "name_en": "Seed Station Branch", "kind": "branch"}
    answer = await members.post("/organisations", person=coordinator(UUID(here)), json=body)
    assert answer.status_code == 201
    assert answer.json() == {"id": answer.json()["id"], **body}
    [fact] = await members.emitted(OrganisationRegistered)
    assert (str(fact.organisation_id), str(fact.area_id), fact.kind) == (answer.json()["id"], here, "branch")
    assert (await members.post("/organisations", person=coordinator(UUID(there)), json=body)).status_code == 403
    assert (await members.get(f"/organisations/{answer.json()['id']}")).json() == answer.json()
    for query, found in (({"area_id": city}, 1), ({"area_id": there}, 0), ({"kind": "company"}, 0), ({"q": "种子"}, 1)):
        assert len((await members.get("/organisations", params=query)).json()["items"]) == found


async def test_centres_are_opened_by_the_areas_coordinator_and_found_in_its_subtree(members: Members):
    city = await members.area(level="city")
    here, there = [await members.area(city) for _ in range(2)]
    body = {"area_id": here, "name": "党群服务中心", "name_en": None, "address": "玉林北路示例路1号"}
    answer = await members.post("/centres", person=coordinator(UUID(here)), json=body)
    assert answer.status_code == 201
    assert answer.json() == {"id": answer.json()["id"], **body}
    [fact] = await members.emitted(CentreOpened)
    assert (str(fact.centre_id), fact.address) == (answer.json()["id"], body["address"])
    assert (await members.post("/centres", person=coordinator(UUID(there)), json=body)).status_code == 403
    assert (await members.get(f"/centres/{answer.json()['id']}")).json() == answer.json()
    for area, found in ((city, 1), (here, 1), (there, 0)):
        assert len((await members.get("/centres", params={"area_id": area})).json()["items"]) == found


async def test_what_is_not_there_is_not_found(members: Members):
    for path in ("areas", "organisations", "centres"):
        assert (await members.get(f"/{path}/{uuid4()}")).status_code == 404
    body = {"area_id": str(uuid4()), "name": "x", "address": "y"}
    answer = await members.post("/centres", person=operator(), json=body)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "body.area_id")


@given(st.from_regex(r"1[3-9][0-9]{9}|\+[0-9]{8,15}", fullmatch=True))
def test_a_phone_has_one_form_and_its_mask_hides_four_digits_or_more(phone: str):
    kept = normalise(phone)
    assert normalise(kept) == kept
    if len(phone) == 11 and not phone.startswith("+"):
        assert normalise("+86" + phone) == phone == kept
    shown = mask(kept).replace("****", "")
    assert len(kept) - len(shown) >= 4
    assert kept.startswith(shown[:3])
    assert kept.endswith(shown[3:])
