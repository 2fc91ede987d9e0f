"""Refusals, and the one place that renders them as `application/problem+json` (RFC 9457), in two languages.

A refusal is a class: its HTTP status, its problem type, and the parameters of its text. Its `title` and `detail` stand
under the type in the `refusals` part of its package's catalogues (`locales/zh-CN.json`, `locales/en.json`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import orjson
from starlette.responses import Response

from chassis.headers import SECURITY_HEADERS
from chassis.i18n import DEFAULT_LOCALE, Locale, catalogue

TYPE_PREFIX = "urn:linli:problem:"
MEDIA_TYPE = "application/problem+json"


class Refusal(Exception):
    """A request is understood and refused; nothing of it has happened. `parameters` fill its text."""

    status: ClassVar[int] = 409
    type: ClassVar[str] = ""
    retry_after_s: ClassVar[int | None] = None

    def __init__(self, **parameters: object) -> None:
        super().__init__(self.type)
        self.parameters = parameters

    def problem(self, locale: Locale) -> dict[str, Any]:
        """The body to answer with, in one language."""
        text = refusal_text(type(self), locale)
        return {
            "type": TYPE_PREFIX + self.type,
            "title": text["title"],
            "status": self.status,
            "detail": text["detail"].format_map(_Blank(self.parameters)),
            **self.members(locale),
        }

    def members(self, locale: Locale) -> dict[str, Any]:  # noqa: ARG002 - for those who override it
        """Further members of the body, for machines."""
        return {}

    def headers(self) -> dict[str, str]:
        return {} if self.retry_after_s is None else {"Retry-After": str(self.retry_after_s)}


class _Blank(dict[str, object]):
    def __missing__(self, key: str) -> str:
        return "?"


def refusal_text(refusal: type[Refusal], locale: Locale) -> Mapping[str, str]:
    """Title and detail of a refusal, from the catalogue of the package that declares it."""
    package = refusal.__module__.rpartition(".")[0]
    found: Mapping[str, str] = catalogue(package, locale)["refusals"][refusal.type]
    return found


class InvalidInput(Refusal):
    """422: one or more fields are not as expected; `errors` names each with what was expected."""

    status = 422
    type = "invalid_input"

    def __init__(self, *errors: tuple[str, str, Mapping[str, object]]) -> None:
        """Each error: the field's path (`body.seats`), the kind of expectation, its parameters."""
        super().__init__(field=errors[0][0] if errors else "")
        self.errors = errors

    def members(self, locale: Locale) -> dict[str, Any]:
        return {
            "errors": [
                {"field": field, "expected": _expected(kind, parameters, locale)}
                for field, kind, parameters in self.errors
            ]
        }


def _expected(kind: str, parameters: Mapping[str, object], locale: Locale) -> str:
    texts: Mapping[str, str] = catalogue("chassis", locale)["expected"]
    if "expected" in parameters:  # pydantic's list of choices
        parameters = {**parameters, "expected": str(parameters["expected"]).replace(" or ", texts["or"])}
    return texts.get(kind, texts["other"]).format_map(_Blank(parameters))


class BadRequest(Refusal):
    """400: the request as such cannot be read."""

    status = 400
    type = "bad_request"


class Unauthenticated(Refusal):
    """401: no token, or one that is not valid (any more)."""

    status = 401
    type = "unauthenticated"

    def headers(self) -> dict[str, str]:
        return {"WWW-Authenticate": "Bearer"}


class Forbidden(Refusal):
    """403: the person may not do this here."""

    status = 403
    type = "forbidden"


class NotFound(Refusal):
    """404: there is no such thing, or none that this person may know of."""

    status = 404
    type = "not_found"


class NotArrived(NotFound):
    """404: this service has not heard of the thing yet, or it does not exist; worth one more try."""

    type = "not_arrived"
    retry_after_s = 2


class MethodNotAllowed(Refusal):
    """405: the resource is there, the method is not; `allowed` are those that are, where they are known."""

    status = 405
    type = "method_not_allowed"

    def __init__(self, *allowed: str) -> None:
        super().__init__()
        self.allowed = allowed

    def headers(self) -> dict[str, str]:
        return {"Allow": ", ".join(self.allowed)} if self.allowed else {}


class Changed(Refusal):
    """412: the thing has another version than the If-Match header names."""

    status = 412
    type = "changed"


class TooLarge(Refusal):
    """413: the body is larger than this route takes."""

    status = 413
    type = "too_large"


class TooSlow(Refusal):
    """408: the request did not come to its end in time."""

    status = 408
    type = "too_slow"


class HeadTooLarge(Refusal):
    """431: request line and headers are larger than any request of ours."""

    status = 431
    type = "head_too_large"


class TooManyRequests(Refusal):
    """429: a limit is reached."""

    status = 429
    type = "too_many_requests"
    retry_after_s = 10


class Busy(Refusal):
    """503: another request holds what this one needs; nothing was decided."""

    status = 503
    type = "busy"
    retry_after_s = 1


class StillDeciding(Refusal):
    """409: an earlier request for the same thing, perhaps this one's first try, is still being decided."""

    type = "still_deciding"
    retry_after_s = 1


class Unavailable(Refusal):
    """503: a part that this one needs cannot be reached; nothing was decided."""

    status = 503
    type = "unavailable"
    retry_after_s = 5


class InternalError(Refusal):
    """500: a defect of ours; the request's id finds it in the log."""

    status = 500
    type = "internal"


def answer(refusal: Refusal, locale: Locale = DEFAULT_LOCALE) -> Response:
    """The refusal as an HTTP response."""
    body = orjson.dumps(refusal.problem(locale), default=str)
    headers = {name.decode(): value.decode() for name, value in SECURITY_HEADERS}
    headers |= {"Content-Language": locale, **refusal.headers()}
    return Response(body, refusal.status, headers, media_type=MEDIA_TYPE)
