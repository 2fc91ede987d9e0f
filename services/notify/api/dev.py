"""The development sandbox: what was sent to a phone number. In production there is nothing under this address."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Request
from pydantic import BaseModel

from chassis.api import Api, Body, Db, Words
from chassis.auth import SIGN_IN
from chassis.errors import NotFound
from services.notify.channels import sandbox_messages

api = Api("development")


class SandboxPhone(Body):
    """The number to look at, with or without +86."""

    phone: Annotated[str, Words(40)]


class SandboxSmsView(BaseModel):
    """One SMS; `code` is the sign-in code in it, if it is one's."""

    text: str
    sent_at: datetime
    code: str | None


class SandboxView(BaseModel):
    """The latest messages to a number, newest first."""

    messages: list[SandboxSmsView]


@api.post("/dev/sms", policy=SIGN_IN)
async def show_sandbox(body: SandboxPhone, request: Request, db: Db) -> SandboxView:
    """Development mode only: the SMS sent to a number."""
    if not request.app.state.runtime.settings.development:
        raise NotFound()
    async with db.transaction() as session:
        sent = await sandbox_messages(session, body.phone)
    return SandboxView(messages=[SandboxSmsView(text=sms.text, sent_at=sms.sent_at, code=sms.code) for sms in sent])
