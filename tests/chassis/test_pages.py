"""Lists come in pages, and edits name the version they were made from."""

from __future__ import annotations

import base64
import json
from uuid import UUID, uuid4

import pytest

from chassis.api import PageRequest, cursor_of, etag, page, require_match
from chassis.errors import Changed, InvalidInput
from tests.chassis.toy import SERVICE, Note
from tests.harness import Databases, run_service


async def test_the_pages_of_a_list_have_every_row_once(databases: Databases) -> None:
    async with run_service(SERVICE, databases) as toy:
        ids = [toy.runtime.world.new_id() for _ in range(23)]
        async with toy.db.transaction() as session:
            session.add_all([Note(id=one, said="x", by=one) for one in ids])
        seen: list[str] = []
        cursor, pages = None, 0
        while cursor or not pages:
            params = {"limit": 5, **({"cursor": cursor} if cursor else {})}
            body = (await toy.get("/pages", params=params)).json()
            seen += [item["id"] for item in body["items"]]
            cursor, pages = body["next_cursor"], pages + 1
        assert seen == [str(one) for one in reversed(ids)]
        assert pages == 5


def encoded(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).decode()


FORGED = {
    "no base64": "!",
    "half": "abc",
    "not ASCII": "光标",
    "no JSON": encoded(b"hello"),
    "no UTF-8": encoded(b"\xff\xfe"),
    "a number": encoded(5),
    "an object": encoded({"0": 1}),
    "text": encoded("abc"),
    "null": encoded(None),
    "empty": encoded([]),
    "a number in a list": encoded([5]),
    "null in a list": encoded([None]),
    "a list in a list": encoded([[]]),
    "no id": encoded(["abc"]),
    "NUL": encoded(["\0"]),
    "deep": encoded(b"[" * 300),
    "a huge number": encoded(b"[" + b"9" * 300 + b"]"),
    "infinity": encoded(b"[Infinity]"),
}


@pytest.mark.parametrize("name", FORGED)
async def test_a_forged_cursor_is_bad_input(databases: Databases, name: str) -> None:
    async with run_service(SERVICE, databases) as toy:
        answer = await toy.get("/pages", params={"cursor": FORGED[name]}, headers={"Accept-Language": "en"})
        assert answer.status_code == 422
        assert answer.json()["errors"] == [{"field": "query.cursor", "expected": "a cursor that this list gave"}]


def test_a_cursor_carries_its_sort_key() -> None:
    key = uuid4()
    request = PageRequest(cursor=cursor_of(7, key), limit=3)
    assert request.after(lambda parts: (int(parts[0]), UUID(parts[1]))) == (7, key)
    assert PageRequest(cursor=None, limit=3).after(lambda _: pytest.fail("there is none")) is None
    with pytest.raises(InvalidInput):
        request.after(lambda parts: parts[2])


def test_only_a_page_with_more_behind_it_has_a_cursor() -> None:
    assert page([3, 2, 1], 3, lambda n: (n,)) == ([3, 2, 1], None)
    shown, cursor = page([4, 3, 2, 1], 3, lambda n: (n,))
    assert (shown, cursor) == ([4, 3, 2], cursor_of(2))
    assert page([], 3, lambda n: (n,)) == ([], None)


def test_an_etag_is_the_version_and_if_match_must_name_it() -> None:
    assert etag(7) == {"ETag": '"7"'}
    for good in (None, "*", '"7"', 'W/"7"', '"6", "7"', ' "7" '):
        require_match(good, 7)
    for bad in ("", "7", '"6"', '"77"', "W/", ",", '"7', "\x00"):
        with pytest.raises(Changed):
            require_match(bad, 7)
