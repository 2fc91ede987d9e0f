"""What operators see and do through the door."""

from __future__ import annotations

from uuid import uuid4

import httpx
import pytest

from chassis.settings import SERVICE_NAMES
from tests.journeys.people import Actor


@pytest.mark.parametrize("name", SERVICE_NAMES)
def test_the_operator_sees_how_each_service_is(staff: Actor, person: Actor, name: str) -> None:
    status = staff.get(f"/services/{name}/status")
    assert (status["service"], status["bus_trouble"]) == (name, False)
    assert isinstance(staff.get(f"/services/{name}/dead-letter-groups"), list)
    gone = {"event_ids": [str(uuid4())], "dry_run": True}
    assert staff.post(f"/services/{name}/dead-letters/replay", gone)["letters"] == 0
    person.get(f"/services/{name}/status", 403)
    person.get(f"/services/{name}/dead-letters", 403)
    person.post(f"/services/{name}/dead-letters/replay", gone, 403)


def test_no_figures_are_told_at_the_public_door(url: str) -> None:
    assert httpx.get(f"{url}/metrics").status_code == 404
    assert httpx.get(f"{url}/operate").status_code == 200
