"""The way to a service behind a URL, over real sockets: what arrives there, and what comes back."""

from __future__ import annotations

import asyncio
import gzip

import pytest
from starlette.responses import PlainTextResponse

from chassis.errors import BadRequest, TooLarge, Unavailable
from chassis.limits import BODY_MAX_BYTES, RequestLimits
from gateway import upstream as upstream_module
from tests.caller import KEYED, Caller, Headers, upstream
from tests.chassis.parts import must_fail
from tests.wire import OK, Answer, serving, wire

# ---- What arrives --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "query"),
    [
        (b"/a%20b", b""),
        (b"//a//", b""),
        (b"/./a/.b", b"x=/../y"),
        (b"/%E4%B8%AD%e6%96%87/%2B%zz", b"q=%e4%b8%ad+a%20b%2B&q=;&r"),
        (b"/a:b@c;d='e'", b"a[]=1&b=http://other/?c"),
        ("/中文".encode(), "区=玉林".encode()),
    ],
)
async def test_path_and_query_arrive_byte_for_byte(path: bytes, query: bytes) -> None:
    async with wire(OK) as service, upstream(service.url) as app:
        await Caller(path=path, query=query).calls(app)
    assert service.requests[0].line == b"GET " + path + (b"?" + query if query else b"") + b" HTTP/1.1"


@pytest.mark.parametrize("path", [b"//elsewhere/a", b"http://elsewhere/a", b"@elsewhere/a"])
async def test_no_path_leads_to_another_host(path: bytes) -> None:
    async with wire(OK) as service, upstream(service.url) as app:
        assert (await Caller(path=path).calls(app)).status == 200
    assert b"Host: " + service.url.removeprefix("http://").encode() in service.requests[0].headers


async def test_the_headers_that_arrive_are_the_callers_and_no_cookie_is_kept() -> None:
    sent = [(b"accept-language", "zh-CN, 中".encode()), (b"x-request-id", b"r-1"), (b"Content-Length", b"2")]
    answer = Answer(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b; Path=/\r\nContent-Length: 0\r\n\r\n")
    async with wire(answer) as service:
        url = service.url.replace("127.0.0.1", "localhost")  # a client that keeps cookies keeps none of an address
        async with upstream(url) as app:
            for _ in range(2):
                await Caller("POST", headers=sent).sends(b"{}").calls(app)
    host = b"Host: " + url.removeprefix("http://").encode()
    for request in service.requests:
        assert request.headers == [host, *(name + b": " + value for name, value in sent)]


async def leaves_the_next_request_alone(announced: Headers) -> None:
    """A body is announced and not sent on, to a service that answers without reading; then somebody else asks."""
    async with serving(PlainTextResponse("ok")) as url, upstream(url) as app:
        for headers in ([], announced, [], []):
            caller = Caller(headers=headers)
            async with asyncio.timeout(10):
                await caller.calls(app)
            assert (caller.status, caller.body) == (200, b"ok")


ANNOUNCED = [(b"content-length", b"5")]


async def test_a_body_that_is_not_sent_on_takes_nothing_of_the_next_request() -> None:
    await leaves_the_next_request_alone(ANNOUNCED)


async def test_control_with_the_clients_length_it_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream_module, "framed", lambda headers, _data: headers)
    await must_fail(leaves_the_next_request_alone, ANNOUNCED)


async def test_a_header_in_no_encoding_of_ours_is_the_callers_mistake() -> None:
    async with wire(OK) as service, upstream(service.url) as app:
        with pytest.raises(BadRequest):
            await Caller(headers=[(b"if-match", b"\xff")]).calls(app)
    assert service.requests == []


async def test_a_body_goes_on_part_by_part() -> None:
    caller = Caller("POST", headers=[(b"content-length", b"6")]).sends(b"one", more=True)
    async with wire(OK) as service, upstream(service.url) as app:
        calling = asyncio.create_task(caller.calls(app))
        await asyncio.wait_for(service.body_begun.wait(), 5)
        assert service.requests[0].body == b"one"
        caller.sends(b"two")
        await calling
    assert service.requests[0].body == b"onetwo"


async def test_a_body_without_a_length_goes_on_in_chunks() -> None:
    async with wire(OK) as service, upstream(service.url) as app:
        await Caller("POST").sends(b"", more=True).sends(b"one", more=True).sends(b"two").calls(app)
    assert service.requests[0].body == b"onetwo"


async def test_an_answer_that_begins_early_takes_nothing_from_the_body() -> None:
    early = Answer(b"0\r\n\r\n", early=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nyes\r\n")
    caller = Caller("POST").sends(b"one", more=True)
    async with wire(early) as service, upstream(service.url) as app, asyncio.timeout(5):
        calling = asyncio.create_task(caller.calls(app))
        await caller.body_begun.wait()
        caller.sends(b"two", more=True)
        await asyncio.sleep(0.01)  # whoever waits for the next part waits now
        caller.sends(b"three")
        await calling
    assert service.requests[0].body == b"onetwothree"
    assert (caller.body, caller.complete) == (b"yes", True)


async def test_the_largest_body_there_may_be_arrives_whole() -> None:
    body = bytes(range(256)) * (BODY_MAX_BYTES // 256)
    length = [(b"content-length", str(len(body)).encode())]
    async with wire(OK) as service, upstream(service.url) as app:
        for headers in (length, length + KEYED):
            caller = Caller("POST", headers=headers)
            for start in range(0, len(body), 60_000):
                caller.sends(body[start : start + 60_000], more=start + 60_000 < len(body))
            await caller.calls(app)
    assert [request.body == body for request in service.requests] == [True, True]


@pytest.mark.parametrize("headers", [[], KEYED])
async def test_a_body_that_grows_too_large_is_said_to_be(headers: Headers) -> None:
    caller = Caller("POST", headers=headers)
    for _ in range(20):
        caller.sends(b"x" * 60_000, more=True)
    async with wire(OK) as service, upstream(service.url) as app:
        await caller.calls(RequestLimits(app))
    assert caller.status == TooLarge.status


@pytest.mark.parametrize("headers", [[], KEYED, [(b"content-length", b"9")]])
async def test_half_a_body_never_arrives_as_a_whole_one(headers: Headers) -> None:
    caller = Caller("POST", headers=headers).sends(b"half", more=True).leaves()
    async with wire(OK) as service, upstream(service.url) as app:
        with pytest.raises(BadRequest):
            await caller.calls(app)
    assert not any(request.complete for request in service.requests)


# ---- What comes back -----------------------------------------------------------------------------------------------


async def test_an_answer_comes_back_as_it_was_packed_and_a_redirect_is_not_followed() -> None:
    packed = gzip.compress(b"hello")
    head = b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
    async with wire(Answer(head % len(packed) + packed)) as service, upstream(service.url) as app:
        caller = await Caller().calls(app)
    assert (caller.status, caller.body, caller.complete) == (302, packed, True)
    assert caller.headers[b"Location"] == b"http://elsewhere/"
    assert len(service.requests) == 1


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        ("DELETE", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\n\r\n'),
    ],
)
async def test_an_answer_without_a_body_is_complete(method: str, answer: bytes) -> None:
    async with wire(Answer(answer)) as service, upstream(service.url) as app:
        callers = [await Caller(method).calls(app) for _ in range(2)]
    assert [(caller.body, caller.complete) for caller in callers] == [(b"", True)] * 2


@pytest.mark.parametrize(
    "half",
    [
        Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "close"),
        Answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", "close"),
        Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "reset"),
        Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "hang"),
    ],
)
async def test_half_an_answer_never_comes_back_as_a_whole_one(half: Answer) -> None:
    caller = Caller()
    async with wire(half) as service, upstream(service.url, silence_timeout_s=0.2) as app:
        with pytest.raises(Unavailable):
            await caller.calls(app)
    assert not caller.complete
    assert len(service.requests) == 1


async def test_who_sends_slowly_is_not_taken_for_a_service_that_is_silent() -> None:
    caller = Caller("POST").sends(b"one", more=True)
    async with wire(OK) as service, upstream(service.url, silence_timeout_s=0.2) as app:
        calling = asyncio.create_task(caller.calls(app))
        await asyncio.sleep(0.5)
        caller.sends(b"two")
        assert (await calling).status == 200


async def test_what_is_no_answer_is_none() -> None:
    async with wire(Answer(b"SSH-2.0-OpenSSH\r\n", "close")) as service, upstream(service.url) as app:
        with pytest.raises(Unavailable):
            await Caller("PATCH").calls(app)
