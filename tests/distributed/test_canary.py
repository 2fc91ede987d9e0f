"""A canary over containers: dumps of the five databases, what the broker's queues hold, and all that is logged.

`tests/test_canary.py` has the longer story, and looks into traces and at every event.
"""

from __future__ import annotations

import random

from tests.canary import Canary
from tests.distributed.broker_api import BrokerApi
from tests.journeys.compose import SERVICES, ComposeStack, wait_until
from tests.journeys.people import Actor, random_phone, sign_in

WITHIN_S = 90.0


def dump(stack: ComposeStack, service: str) -> str:
    """One database as its backup has it."""
    return stack.execute("postgres", "pg_dump", "-U", "postgres", "--inserts", f"linli_{service}")


def places(stack: ComposeStack, broker_api: BrokerApi, canary: Canary) -> set[str]:
    """Where the canary is now."""
    texts = {f"database {service}": dump(stack, service) for service in SERVICES}
    texts |= {f"queue {name}": "\n".join(broker_api.messages(name)) for name in broker_api.queues()}
    texts["logs"] = stack.logs()
    return {place for place, text in texts.items() if canary.count(text)}


def test_after_the_erasure_nothing_is_in_databases_queues_and_logs(
    stack: ComposeStack, broker_api: BrokerApi, staff: Actor, area: str
) -> None:
    phone = Canary(random_phone())
    words = Canary(f"轮椅坡道Quokka{random.randrange(10**9):09d}")
    with sign_in(stack.url, phone.said) as person:
        person.patch("/me", {"display_name": words.said})
        person.post("/registrations", {"area_id": area})
        body = {"area_id": area, "title": words.said, "body": words.said}
        needs = [person.post("/needs", body)["id"] for _ in range(2)]
        staff.post(f"/needs/{needs[0]}/decline", {"reason": "请再说明"})
        person.until("/me/messages", lambda page: words.said in str(page["items"]))
        assert phone.said in str(person.get("/me/export"))
        assert places(stack, broker_api, phone) == set()
        before = places(stack, broker_api, words)
        assert before >= {"database members", "database catalog", "database notify"}, "the search finds what is there"
        assert before <= {f"database {service}" for service in SERVICES}
        person.delete("/me", 204)
    for canary in (phone, words):
        wait_until(lambda canary=canary: not places(stack, broker_api, canary), WITHIN_S, "it is still there")


def test_control_a_container_that_keeps_a_phone_is_found(stack: ComposeStack, broker_api: BrokerApi) -> None:
    phone = Canary(random_phone())
    keep = "INSERT INTO sandbox_sms VALUES (gen_random_uuid(), 'x', 'tel {}', now())"
    query = ("psql", "-U", "postgres", "-qd", "linli_notify", "-c")
    stack.execute("postgres", *query, keep.format(phone.said))
    try:
        assert places(stack, broker_api, phone) == {"database notify"}
    finally:
        stack.execute("postgres", *query, "DELETE FROM sandbox_sms WHERE phone_hash = 'x'")
