"""Contact data at rest: sealed with AES-256-GCM, and found by a keyed hash (HMAC-SHA256) without being opened."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import random
from collections.abc import Sequence
from contextlib import suppress
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import SecretStr

from chassis.settings import BadSetting, required

KEY_BYTES = 32
NONCE_BYTES = 12


class Unreadable(ValueError):
    """What is stored was sealed with another key, for another row, or was altered."""


class Vault:
    """Seals texts, each for one row, so that a sealed text copied to another row cannot be read there.

    The first of the contact keys seals; the others still open what they sealed before (`services.members.resealing`).
    Which one did so is seen by trying: the cipher tells, and no release has to know another form.
    """

    def __init__(self, contact_keys: Sequence[bytes], index_key: bytes, randomness: random.Random) -> None:
        self._ciphers = [AESGCM(key) for key in contact_keys]
        self._index_key = index_key
        self._random = randomness

    def seal(self, text: str, row: UUID) -> bytes:
        """The text, readable only with the key and the row's id."""
        nonce = self._random.randbytes(NONCE_BYTES)
        return nonce + self._ciphers[0].encrypt(nonce, text.encode(), row.bytes)

    def open(self, sealed: bytes, row: UUID) -> str:
        """What was sealed for this row; Unreadable otherwise."""
        return self._opened(sealed, row)[0]

    def resealed(self, sealed: bytes, row: UUID) -> bytes | None:
        """The same text under the first key; None for what is under it already. Unreadable as in `open`."""
        text, cipher = self._opened(sealed, row)
        return None if cipher is self._ciphers[0] else self.seal(text, row)

    @property
    def rotating(self) -> bool:
        """Whether there may be something under an older key."""
        return len(self._ciphers) > 1

    def _opened(self, sealed: bytes, row: UUID) -> tuple[str, AESGCM]:
        for cipher in self._ciphers:
            with suppress(InvalidTag):
                return cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], row.bytes).decode(), cipher
        raise Unreadable("sealed with another key or for another row")

    def index(self, kind: str, value: str) -> bytes:
        """What a value of this kind is found by: the same for the same value, and of no use without the key."""
        return hmac.new(self._index_key, f"{kind}\x1f{value}".encode(), hashlib.sha256).digest()


def read_keys(secret: SecretStr | None, variable: str) -> list[bytes]:
    """The keys that a setting holds, one after another with spaces or line breaks between; errors as in `read_key`."""
    return [read_key(SecretStr(key), variable) for key in required(secret, variable).split() or [""]]


def read_key(secret: SecretStr | None, variable: str) -> bytes:
    """The 32 bytes that a setting holds in URL-safe base64; BadSetting naming the variable otherwise."""
    try:
        key = base64.b64decode(required(secret, variable).strip().encode(), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise BadSetting(f"{variable} is not base64 (URL-safe alphabet)") from error
    if len(key) != KEY_BYTES:
        raise BadSetting(f"{variable} has {len(key)} bytes, not {KEY_BYTES}")
    return key
