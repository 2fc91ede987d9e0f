"""Routes by which people read all that Linli holds about them, and leave."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi import Request
from pydantic import BaseModel

from chassis.api import Api, Db
from chassis.auth import SIGNED_IN, CurrentPrincipal
from chassis.erasure import Erasure
from chassis.export import EXPORT_PATH
from services.members.exports import count_export
from services.members.farewell import erase_me
from services.members.parts import CurrentParts
from services.members.people import phone_of, require_account
from services.members.personal import PERSONAL

api = Api("privacy")


class ExportView(BaseModel):
    """All that Linli holds about a person. `services` has rows by service and table; it is filled at the door.

    `phone` is in the clear: it is the person's own.
    """

    person_id: UUID
    made_at: datetime
    display_name: str
    phone: str | None
    services: dict[str, dict[str, list[dict[str, Any]]]]


@api.get(EXPORT_PATH, policy=SIGNED_IN, openapi_extra={"x-linli-compose": "export"})
async def export_me(principal: CurrentPrincipal, db: Db, parts: CurrentParts) -> ExportView:
    """Everything that Linli holds about me, from all services; 503 while one of them cannot be reached.

    Five times an hour.
    """
    async with db.transaction() as session:
        person = await require_account(session, principal)
        await count_export(session, person.id)
        return ExportView(
            person_id=person.id,
            made_at=db.world.now(),
            display_name=person.display_name,
            phone=await phone_of(session, parts.vault, person.id),
            services={},
        )


@api.delete("/me", policy=SIGNED_IN, status_code=204)
async def delete_me(request: Request, principal: CurrentPrincipal, db: Db) -> None:
    """Erase me, for good, from all services. 403 `fresh_sign_in_needed` unless I signed in just now.

    Claims, bookings and redemptions that are open end. From now on my tokens are refused: a repetition answers 401.
    """
    erasure = Erasure(db, PERSONAL, request.app.state.runtime.cutoffs)
    async with db.transaction() as session:
        await erase_me(session, erasure, principal)
