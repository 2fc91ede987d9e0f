"""Who has to hear of something has one message, one live item and one SMS of it, and streams have no gap."""

from __future__ import annotations

from collections import Counter
from typing import Any

from services.notify.notices import NOTICES
from tests.simulation.databases import KEPT
from tests.simulation.installation import Installation
from tests.simulation.invariants.compare import differences, tuples
from tests.simulation.invariants.delivery import told

_NEW = f"WHERE id NOT IN (SELECT id FROM {KEPT}"
MESSAGES = f"SELECT event_id, person_id FROM messages {_NEW}.messages)"
DELIVERIES = f"SELECT event_id FROM deliveries {_NEW}.deliveries)"
SENT = "SELECT id FROM deliveries WHERE state = 'sent'"
FAILED = "SELECT id, cause FROM deliveries WHERE state = 'failed'"
SMS = "SELECT key FROM sandbox_sms"
GAPS = """
    SELECT s.person_id FROM streams s LEFT JOIN stream_items i USING (person_id)
    GROUP BY s.person_id, s.last_seq HAVING count(i.seq) <> s.last_seq OR max(i.seq) <> s.last_seq"""
ITEMS = f"""
    SELECT i.person_id, count(*) FROM stream_items i LEFT JOIN {KEPT}.stream_items k USING (person_id, seq)
    WHERE k.seq IS NULL GROUP BY i.person_id"""


async def check(installation: Installation) -> list[str]:
    messages: list[Any] = []
    texts: list[Any] = []
    items: Counter[Any] = Counter()
    for envelope in told(installation):
        notice = NOTICES.get(type(envelope.data))
        person = notice.to(envelope.data) if notice else None
        if notice is None or person is None:
            continue
        items[person] += 1
        if notice.worth_a_message(envelope.data):
            items[person] += 1
            messages.append((envelope.id, person))
            texts += [(envelope.id,)] if notice.sms else []

    async def found(query: str) -> list[tuple[Any, ...]]:
        return await tuples(installation, "notify", query)

    return [
        *differences("messages", messages, await found(MESSAGES)),
        *differences("deliveries", texts, await found(DELIVERIES)),
        *differences("live items", items.items(), await found(ITEMS)),
        *differences("SMS", await found(SENT), await found(SMS)),
        *[f"the stream of {person} has a gap" for (person,) in await found(GAPS)],
    ]
