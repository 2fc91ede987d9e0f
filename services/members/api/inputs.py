"""The types of what comes in on more than one route."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from chassis.api import Words

Name = Annotated[str, Words(120)]
SearchText = Annotated[str, Words(60)]


def id_of(cursor: Sequence[Any]) -> UUID:
    """The id that a list goes on before."""
    return UUID(str(cursor[0]))
