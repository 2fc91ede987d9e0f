"""Two queries, in two services' databases, that have to give the same rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from tests.simulation.installation import Installation

SHOWN_MAX = 3


def differences(what: str, expected: Iterable[Any], found: Iterable[Any]) -> list[str]:
    """What is missing and what is too much, as one sentence; nothing where both are the same, in any order."""
    wanted, had = Counter(expected), Counter(found)
    missing, extra = list((wanted - had).elements()), list((had - wanted).elements())
    if not missing and not extra:
        return []
    return [f"{what}: missing {missing[:SHOWN_MAX]}, too much {extra[:SHOWN_MAX]}"]


async def tuples(installation: Installation, service: str, query: str) -> list[tuple[Any, ...]]:
    return await installation.shelf.tuples(service, query)
