"""What a route gets from the request alone is handed to it without FastAPI, and routes are written as ever."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

import httpx
from fastapi import Depends, FastAPI, Header, Query
from starlette.requests import Request

from chassis.direct import handed_directly


async def _colour(request: Request) -> str:
    return request.headers.get("x-colour", "none")


async def _shade(colour: Annotated[str, Depends(_colour)], shade: Annotated[str, Header()] = "light") -> str:
    return f"{shade} {colour}"


Colour = Annotated[str, Depends(_colour)]
Shade = Annotated[str, Depends(_shade)]


async def paint(number: int, colour: Colour, shade: Shade, again: Annotated[int, Query()] = 1) -> dict[str, object]:
    """Paint it."""
    return {"number": number, "colour": colour, "shade": shade, "again": again}


async def look(request: Request, colour: Colour) -> str:
    return f"{request.method} {colour}"


async def count(colour: Colour) -> AsyncIterator[str]:
    yield colour


async def answer(path: str, **headers: str) -> object:
    app = FastAPI()
    app.get("/paint/{number}")(handed_directly(paint))
    app.get("/look")(handed_directly(look))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        return (await client.get(path, headers=headers)).json()


async def test_it_is_handed_over_beside_what_fastapi_finds() -> None:
    expected = {"number": 7, "colour": "red", "shade": "dark red", "again": 2}
    assert await answer("/paint/7?again=2", **{"x-colour": "red", "shade": "dark"}) == expected


async def test_a_route_that_takes_the_request_itself_gets_it_too() -> None:
    assert await answer("/look", **{"x-colour": "red"}) == "GET red"


async def test_the_document_is_the_same() -> None:
    documents = []
    for endpoint in (paint, handed_directly(paint)):
        app = FastAPI()
        app.get("/paint/{number}")(endpoint)
        documents.append(app.openapi())
    assert documents[0] == documents[1]
    assert documents[0]["paths"]["/paint/{number}"]["get"]["description"] == "Paint it."


def test_what_it_cannot_call_it_leaves_alone() -> None:
    async def plain(number: int) -> int:
        return number

    assert handed_directly(plain) is plain
    assert handed_directly(count) is count
