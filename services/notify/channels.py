"""The ways a message leaves: one small interface, and the SMS sandbox of development behind it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.db import Database
from services.notify.models import Delivery, SandboxSms
from services.notify.notices import SIGN_IN_CODE

SANDBOX_SHOWN_MAX = 20


class Channel(Protocol):
    """Returns when the provider took the text; raises when it did not, or when that is not known.

    `key` stays the same when one delivery is tried again: a provider that knows it already does not send again.
    """

    async def send(self, to: str, text: str, key: UUID) -> None: ...


class SandboxChannel:
    """Keeps each SMS in a table instead of sending it, under a hash of the phone number. Development only."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def send(self, to: str, text: str, key: UUID) -> None:
        async with self._db.transaction() as session:
            sms = {"key": key, "phone_hash": phone_hash(to), "text": text, "sent_at": self._db.world.now()}
            await session.execute(insert(SandboxSms).values(sms).on_conflict_do_nothing())


@dataclass(frozen=True)
class SentSms:
    """An SMS of the sandbox; `code` is the sign-in code in it, if it is one's."""

    text: str
    sent_at: datetime
    code: str | None


async def sandbox_messages(session: AsyncSession, phone: str) -> list[SentSms]:
    """What was sent to this number, newest first."""
    rows = await session.execute(
        select(SandboxSms.text, SandboxSms.sent_at, Delivery.template)
        .join(Delivery, Delivery.id == SandboxSms.key)
        .where(SandboxSms.phone_hash == phone_hash(phone))
        .order_by(SandboxSms.key.desc())
        .limit(SANDBOX_SHOWN_MAX)
    )
    return [SentSms(row.text, row.sent_at, _code(row.text) if row.template == SIGN_IN_CODE else None) for row in rows]


def phone_hash(phone: str) -> str:
    """Under which a number's messages are kept, however it was written."""
    digits = re.sub(r"[\s-]", "", phone).removeprefix("+86")
    return hashlib.sha256(digits.encode()).hexdigest()


def _code(text: str) -> str | None:
    found = re.search(r"(?<!\d)\d{6}(?!\d)", text)
    return found.group() if found else None
