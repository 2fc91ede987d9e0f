"""What a route gets from the request alone (the database, the person who asks, …) is handed to it directly.

FastAPI takes as long to solve each dependency of a request as PostgreSQL takes for a look-up. One whose only parameter
is the request needs nothing of that; routes declare it as any other, by `Annotated[…, Depends(…)]`.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Collection, Mapping
from types import NoneType
from typing import Any, get_type_hints

from fastapi import Request
from fastapi.params import Depends

Find = Callable[[Request], Awaitable[Any]]

_REQUEST = "request_itself"


def handed_directly(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """The endpoint for FastAPI, which then sees neither those dependencies nor the parameters that they fill."""
    signature = inspect.signature(endpoint)
    hints = get_type_hints(endpoint, include_extras=True)
    finds = {name: find for name in signature.parameters if (find := _find(hints.get(name))) is not None}
    if not finds or not inspect.iscoroutinefunction(endpoint):
        return endpoint

    # FastAPI hands over the request under one name only.
    own = next((name for name in signature.parameters if hints.get(name) is Request), None)

    async def called(**values: Any) -> Any:
        request: Request = values[own] if own else values.pop(_REQUEST)
        for name, find in finds.items():
            values[name] = await find(request)
        return await endpoint(**values)

    # Not by functools.wraps, which leads FastAPI to the endpoint's own signature.
    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(called, name, getattr(endpoint, name))
    called.__signature__ = _seen(signature, hints, [*finds, own], own or _REQUEST)  # type: ignore[attr-defined]
    return called


def _find(hint: Any) -> Find | None:
    """The dependency that this annotation declares, if all that it takes is the request."""
    for mark in getattr(hint, "__metadata__", ()):
        if isinstance(mark, Depends) and inspect.iscoroutinefunction(mark.dependency):
            parameters = inspect.signature(mark.dependency).parameters
            kinds = [get_type_hints(mark.dependency).get(name) for name in parameters]
            return mark.dependency if kinds == [Request] else None
    return None


def _seen(
    signature: inspect.Signature, hints: Mapping[str, Any], unseen: Collection[str | None], request: str
) -> inspect.Signature:
    kept = [
        parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in signature.parameters.items()
        if name not in unseen
    ]
    itself = inspect.Parameter(request, inspect.Parameter.KEYWORD_ONLY, annotation=Request)
    returned = hints["return"]
    return signature.replace(parameters=[*kept, itself], return_annotation=None if returned is NoneType else returned)
