"""One request to a service and its answer, over the connections that aiohttp's session keeps.

Nothing else of the session takes part: its cookies, redirects, traces and timers mean nothing here and cost more than
the exchange itself, and what it sends a second time is not what may be (`gateway.repeat`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence

from aiohttp import ClientRequest, ClientResponse, ClientSession, hdrs
from multidict import CIMultiDict
from yarl import URL

ADDED_BY_CLIENTS = (hdrs.ACCEPT, hdrs.ACCEPT_ENCODING, hdrs.CONTENT_TYPE, hdrs.USER_AGENT)

Headers = Sequence[tuple[str, str]]
Data = bytes | AsyncIterator[bytes] | None


class Outgoing(ClientRequest):
    """A request that says what its client said, and nothing that other clients add."""

    _skip_auto_headers = CIMultiDict((name, None) for name in ADDED_BY_CLIENTS)

    def update_auto_headers(self, skip_auto_headers: Iterable[str] | None) -> None:
        """Add none. aiohttp would find out anew each time that they are all to be skipped."""


async def exchange(session: ClientSession, method: str, url: URL, headers: Headers, data: Data) -> ClientResponse:
    """Send a request; its answer as soon as that begins, to be closed by the caller. Raises ClientError and OSError."""
    connector = session.connector
    if connector is None:
        raise RuntimeError("the session is closed")
    request = Outgoing(method, url, headers=headers, data=data, loop=asyncio.get_running_loop(), session=session)
    connection = await connector.connect(request, [], session.timeout)
    try:
        protocol = connection.protocol
        assert protocol is not None  # noqa: S101 - a connection that was just handed out has one
        protocol.set_response_params(
            skip_payload=method == hdrs.METH_HEAD,
            read_until_eof=True,
            auto_decompress=False,
            read_timeout=session.timeout.sock_read,
        )
        response = await request.send(connection)
        try:
            return await response.start(connection)
        except BaseException:
            response.close()
            raise
    except BaseException:
        connection.close()
        raise
