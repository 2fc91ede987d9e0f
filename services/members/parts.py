"""What lives as long as the process: the vault, the signer of access tokens, the hasher of passwords."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from chassis.settings import Settings
from chassis.tokens import Signer, signer_from
from chassis.world import World
from services.members.passwords import Passwords
from services.members.vault import Vault, read_key, read_keys


@dataclass(frozen=True)
class Parts:
    """Members' own parts, for the routes that need them."""

    vault: Vault
    signer: Signer
    passwords: Passwords


def build_parts(settings: Settings, world: World) -> Parts:
    """The parts that the settings describe; BadSetting naming the variable for a key that is missing or malformed."""
    contact_keys = read_keys(settings.contact_key, "LINLI_CONTACT_KEY")
    index_key = read_key(settings.phone_index_key, "LINLI_PHONE_INDEX_KEY")
    vault = Vault(contact_keys, index_key, world.random)
    return Parts(vault, signer_from(settings.token_key, "LINLI_TOKEN_KEY"), Passwords())


async def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


CurrentParts = Annotated[Parts, Depends(_parts)]
