"""What the gateway sends a second time: only what has no second effect, and nothing a third time.

A service that is restarted closes connections on which a request may just have been sent. Whether it was carried out,
nobody can tell. aiohttp's session by itself would repeat DELETE and PUT.
"""

from __future__ import annotations

import structlog
from aiohttp import ClientConnectionError, ClientConnectorError, ClientResponse, ClientSession, ServerTimeoutError
from yarl import URL

from gateway.exchange import Data, Headers, exchange

KEY_HEADER = "idempotency-key"

log = structlog.get_logger(__name__)


class Lost(ClientConnectionError):
    """The connection broke after the request was sent, in part or whole, and before the answer began."""


def may_be_repeated(method: str, headers: Headers) -> bool:
    """Whether it is a read, or has a key that the service keeps with its effect."""
    return method in {"GET", "HEAD"} or (method == "POST" and any(name == KEY_HEADER for name, _ in headers))


async def request(session: ClientSession, method: str, url: URL, headers: Headers, data: Data) -> ClientResponse:
    """The answer as soon as it begins; a request that was lost and may be repeated, its data whole, goes out once more.

    Header names are in small letters. Raises ClientError and OSError; Lost when nobody can tell what became of it.
    """
    try:
        return await _once(session, method, url, headers, data)
    except Lost as error:
        if not may_be_repeated(method, headers):
            raise
        cause = type(error.__cause__).__name__
        log.warning("request_repeated", upstream=str(url.origin()), method=method, cause=cause)
    return await _once(session, method, url, headers, data)


async def _once(session: ClientSession, method: str, url: URL, headers: Headers, data: Data) -> ClientResponse:
    try:
        return await exchange(session, method, url, headers, data)
    except (ServerTimeoutError, ClientConnectorError):
        # Slow is not lost; and to connect, aiohttp has tried every address that there is.
        raise
    except ClientConnectionError as error:
        raise Lost() from error
