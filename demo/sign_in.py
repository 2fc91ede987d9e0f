"""The ways to sign in: the operator by password, everybody else by a code sent to their phone."""

from __future__ import annotations

import asyncio
from functools import partial

from demo.client import Account, Api, Later, Lost, Refused, Stopped, Thing

CODES_ASKED_MAX = 4
# For the code of one request. Only looks that Linli answers count, however long it is away between them.
LOOKS = 80
LOOK_EVERY_S = 0.25


def operator(api: Api, username: str, password: str) -> Account:
    credentials = {"username": username, "password": password}
    return Account(api, partial(api.patiently, partial(api.ask, "POST", "/auth/token", credentials)))


def by_phone(api: Api, phone: str) -> Account:
    return Account(api, partial(_sign_in, api, phone))


async def _sign_in(api: Api, phone: str) -> Thing:
    """Ask for a code, read it where development mode shows it, hand it in; ask again when none comes in time."""
    tried = await _codes(api, phone)
    for _ in range(CODES_ASKED_MAX):
        challenge = await api.patiently(partial(api.ask, "POST", "/auth/otp", {"phone": phone}))
        for _ in range(LOOKS):
            fresh = [sent for sent in await _codes(api, phone) if sent not in tried]
            tried += fresh
            try:
                for _, code in fresh:
                    tokens = await _hand_in(api, challenge["challenge_id"], code)
                    if tokens is not None:
                        return tokens
            except Later:
                break  # the code may be used up now
            await asyncio.sleep(LOOK_EVERY_S)
    raise Stopped(f"No sign-in code for {phone} arrived.")


async def _codes(api: Api, phone: str) -> list[tuple[str, str]]:
    """When each code was sent, and the code; newest first."""
    shown = await api.patiently(partial(api.ask, "POST", "/dev/sms", {"phone": phone}))
    return [(message["sent_at"], message["code"]) for message in shown["messages"] if message["code"]]


async def _hand_in(api: Api, challenge_id: str, code: str) -> Thing | None:
    """The tokens for the code; none for that of an earlier challenge, which may come late."""
    try:
        tokens: Thing = await api.ask("POST", "/auth/token", {"challenge_id": challenge_id, "code": code})
    except Refused as refused:
        if refused.type != "wrong_code":
            raise
        return None
    return tokens


async def reach(api: Api, url: str) -> None:
    """Make sure that Linli answers and lets sign-in codes be read."""

    async def knock() -> None:
        try:
            await api.ask("POST", "/dev/sms", {"phone": "19900000000"})
        except Lost as lost:
            raise Stopped(
                f"Nothing answers at {url}: start Linli with `make run` or `make up DEV=1`, or set LINLI_URL."
            ) from lost

    try:
        await api.patiently(knock)
    except Refused as refused:
        raise Stopped(f"What answers at {url} is no Linli in development mode: it shows no sign-in codes.") from refused
