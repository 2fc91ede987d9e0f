"""What lives as long as the process: the vault, the signer of access tokens, the hasher of passwords."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from chassis.settings import Settings
from chassis.tokens import Signer
from chassis.world import World
from services.members.passwords import Passwords
from services.members.vault import BadKey, Vault, read_key


@dataclass(frozen=True)
class Parts:
    """Members' own parts, for the routes that need them."""

    vault: Vault
    signer: Signer
    passwords: Passwords


def build_parts(settings: Settings, world: World) -> Parts:
    """The parts that the settings describe; BadKey naming the variable for a key that is missing or malformed."""
    contact, index, token = (
        secret.get_secret_value() if secret else None
        for secret in (settings.contact_key, settings.phone_index_key, settings.token_key)
    )
    vault = Vault(read_key(contact, "LINLI_CONTACT_KEY"), read_key(index, "LINLI_PHONE_INDEX_KEY"), world.random)
    return Parts(vault, _signer(token), Passwords())


def _signer(pem: str | None) -> Signer:
    if not pem:
        raise BadKey("LINLI_TOKEN_KEY is not set: members needs it (services.members.keys makes one)")
    try:
        # An env file holds one line a variable: there a line break is written \n.
        return Signer(pem.replace("\\n", "\n"))
    except Exception as error:
        # Without the cause's text: it may quote the key.
        raise BadKey(f"LINLI_TOKEN_KEY is not an ES256 private key in PEM ({type(error).__name__})") from None


async def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


CurrentParts = Annotated[Parts, Depends(_parts)]
