"""What every answer says to browsers, whoever makes it: a service, the gateway, or the server by itself.

There is no `Access-Control-…` among them: no page of another origin may read an answer of ours.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# In it the gateway tells a service where a sign-in comes from. It is nobody's identity: only caps go by it.
CLIENT_ADDRESS_HEADER = b"x-client-address"

# An answer that says otherwise keeps what it says.
SECURITY_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)


class SecurityHeaders:
    """ASGI middleware: adds them to each answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = list(message.get("headers", []))
                said = {name.lower() for name, _ in given}
                message = {**message, "headers": given + [pair for pair in SECURITY_HEADERS if pair[0] not in said]}
            await send(message)

        await self._app(scope, receive, send_with_headers)
