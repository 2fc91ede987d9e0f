"""What notify asks of members when it sends: a person's contact, or a challenge's contact and code; kept nowhere."""

from __future__ import annotations

from uuid import UUID

import httpx
from pydantic import BaseModel, Field

from chassis.tokens import Signer
from chassis.tracing import trace_headers
from chassis.world import World


class Contact(BaseModel):
    """Where and in which language to write to somebody; kept out of `repr`, so that no log shows it."""

    phone: str | None = Field(repr=False)
    locale: str
    code: str | None = Field(default=None, repr=False)


class Lookups:
    """Asks members with a service token of its own for each kind of question."""

    def __init__(self, members: httpx.AsyncClient, signer: Signer, world: World) -> None:
        self._members = members
        self._signer = signer
        self._world = world

    async def contact(self, person_id: UUID) -> Contact | None:
        """The person's contact; None when there is no such person (any more)."""
        return await self._ask("contacts", person_id)

    async def challenge(self, challenge_id: UUID) -> Contact | None:
        """Contact and code of a sign-in challenge; None when it is not open (any more)."""
        return await self._ask("challenges", challenge_id)

    async def _ask(self, scope: str, subject_id: UUID) -> Contact | None:
        token = self._signer.service_token("notify", scope, self._world.now())
        response = await self._members.get(
            f"/internal/{scope}/{subject_id}", headers={"Authorization": f"Bearer {token}", **trace_headers()}
        )
        if response.status_code == httpx.codes.NOT_FOUND:
            return None
        response.raise_for_status()
        return Contact.model_validate_json(response.content)
