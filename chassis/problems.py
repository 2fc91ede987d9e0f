"""What every exception of a service amounts to for its caller: a refusal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chassis.db import is_down, is_lock_timeout, is_transient
from chassis.errors import (
    BadRequest,
    Busy,
    InternalError,
    InvalidInput,
    MethodNotAllowed,
    NotFound,
    Refusal,
    TooLarge,
    Unavailable,
    answer,
)
from chassis.i18n import negotiate

log = structlog.get_logger(__name__)


def understand(error: Exception) -> Refusal:
    """The refusal that an exception amounts to."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, RequestValidationError):
        return InvalidInput(*[_field_error(item) for item in error.errors()])
    if isinstance(error, HTTPException):
        by_status: dict[int, type[Refusal]] = {404: NotFound, 405: MethodNotAllowed, 413: TooLarge}
        # A refusal that ended the reading of a body is the cause of what FastAPI says of it.
        return (
            error.__cause__ if isinstance(error.__cause__, Refusal) else by_status.get(error.status_code, BadRequest)()
        )
    if is_transient(error) or is_lock_timeout(error):
        return Busy()
    if is_down(error):
        return Unavailable()
    return InternalError()


def _field_error(item: Mapping[str, Any]) -> tuple[str, str, Mapping[str, object]]:
    location: tuple[object, ...] = item["loc"]
    kind = str(item["type"])
    field = ".".join(str(part) for part in location) or "body"
    if kind == "json_invalid":
        field = "body"
    return field, kind, item.get("ctx") or {}


def install(app: FastAPI) -> None:
    """Answer every exception of the app in this one way."""
    for kind in (Refusal, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, _render)


async def _render(request: Request, error: Exception) -> Response:
    refusal = understand(error)
    if refusal.status < 500:
        _let_go(error)
    media_type = request.headers.get("content-type", "").lower()
    if isinstance(refusal, InvalidInput) and refusal.errors[0][0] == "body" and "json" not in media_type:
        refusal = InvalidInput(("body", "json_type", {}))
    if refusal.status >= 500:
        log.error("request_failed", cause=repr(error), exc_info=error if refusal.status == 500 else None)
    return answer(refusal, negotiate(request.headers.get("accept-language")))


def _let_go(error: BaseException | None) -> None:
    """Take its traceback from an error that is answered: its frames hold the body of the request, and the error itself,
    so that only the garbage collector, which counts objects and not their size, would free them."""
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


class DefectsAnswered:
    """ASGI middleware: answers what nothing else did, inside `RequestContext`.

    Starlette would do so outside of it, where answer and log line do not have the request's id.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            if started or scope["type"] != "http":
                raise
            response = await _render(Request(scope), error)
            await response(scope, receive, send)
