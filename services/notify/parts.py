"""What a running notify has besides its runtime, and how routes reach it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from services.notify.wakes import Wakes
from services.notify.wording import Wording


@dataclass(frozen=True)
class Parts:
    """Texts, and who waits to be woken."""

    wording: Wording
    wakes: Wakes


async def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


NotifyParts = Annotated[Parts, Depends(_parts)]
