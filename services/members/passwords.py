"""Hashing of passwords (Argon2id, 64 MiB each): beside the event loop, and few at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from chassis.errors import Busy

HASHING_AT_ONCE = 2
WAITING_MAX = 64

# Verified where there is no account, so that time does not tell which usernames exist: the hash of a random text, with
# the parameters of every other.
NOBODYS_HASH = "$argon2id$v=19$m=65536,t=3,p=4$g2V3XhJPKMd8XZu+IpKHIg$5tEIjOO4KbfrtJ8VhzhCsXsCPiOP5VBSvnssp5h0iVE"


class Passwords:
    """Hashes and verifies within a slot; who finds too many waiting for one is sent away."""

    def __init__(self) -> None:
        self._hasher = PasswordHash((Argon2Hasher(),))
        self._slots = asyncio.Semaphore(HASHING_AT_ONCE)
        self._waiting = 0

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """One of the few places in which hashing goes on; Busy when too many wait for one."""
        if self._waiting >= WAITING_MAX:
            raise Busy()
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._slots.release()

    async def hash(self, password: str) -> str:
        """What to keep of a password. Call within a slot."""
        return await asyncio.to_thread(self._hasher.hash, password)

    async def matches(self, password: str, kept: str | None) -> bool:
        """Whether it is the password; takes as long, and is false, where there is none. Call within a slot."""
        right = await asyncio.to_thread(self._hasher.verify, password, kept or NOBODYS_HASH)
        return right and kept is not None
