"""Requests as bytes, for what no client library would send, and the answers that come back."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

# For an answer that has to come; and after it, for one that must not.
ANSWER_TIMEOUT_S = 30.0
SILENCE_S = 0.3


@dataclass
class Reply:
    """One answer: its status, its headers by name in small letters, its body."""

    status: int
    headers: dict[str, str]
    body: bytes


def request(line: str | bytes, *headers: str | bytes, body: bytes = b"") -> bytes:
    """A request line, `Host`, these headers, an empty line, the body."""
    lines = [line, "Host: linli", *headers]
    return b"\r\n".join([part.encode() if isinstance(part, str) else part for part in lines] + [b"", body])


async def exchange(url: str, data: bytes, answers: int = 1) -> list[Reply]:
    """Everything that comes back for the bytes: at least as many answers as told, and those that follow at once."""
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    replies: list[Reply] = []
    try:
        with suppress(ConnectionError):
            writer.write(data)
            await writer.drain()
        with suppress(ConnectionError, asyncio.IncompleteReadError, TimeoutError):
            while True:
                wait_s = ANSWER_TIMEOUT_S if len(replies) < answers else SILENCE_S
                async with asyncio.timeout(wait_s):
                    head = await reader.readuntil(b"\r\n\r\n")
                replies.append(await _rest_of(reader, head, data))
    finally:
        writer.close()
    return replies


async def _rest_of(reader: asyncio.StreamReader, head: bytes, data: bytes) -> Reply:
    lines = head.decode("latin-1").split("\r\n")
    named = (line.partition(":") for line in lines[1:] if line)
    headers = {name.lower(): value.strip() for name, _, value in named}
    length = 0 if data.startswith(b"HEAD ") else int(headers.get("content-length", 0))
    async with asyncio.timeout(ANSWER_TIMEOUT_S):
        body = await reader.readexactly(length)
    return Reply(int(lines[0].split(" ")[1]), headers, body)
