"""A service's part of what Linli holds about whoever asks; the gateway puts the parts together (`gateway.export`)."""

from __future__ import annotations

from typing import Any

from chassis.api import Api, Db
from chassis.auth import SIGNED_IN, CurrentPrincipal
from chassis.personal import Personal, export_person

EXPORT_PATH = "/me/export"


def export_api(service_name: str, personal: Personal) -> Api:
    """The route by which people read everything that one service holds about them."""
    api = Api("privacy")

    @api.get(f"{EXPORT_PATH}/{service_name}", policy=SIGNED_IN)
    async def get_my_part(principal: CurrentPrincipal, db: Db) -> dict[str, list[dict[str, Any]]]:
        """Everything that this service holds about me: rows by table."""
        async with db.transaction() as session:
            return await export_person(session, personal, principal.person_id)

    return api
