"""What is no HTTP in ASCII is answered in our shape, whatever the handler reads: never by 500, a traceback or
nothing. Over a plain socket, since no client sends it."""

import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import hdrs, web
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.exposition import choose_encoder
from structlog.testing import capture_logs

from authsvc.callers import identify
from chassis.bearer import Verifier
from chassis.http import read_json, serve
from chassis.serving import READ
from listener.events import query
from tests.chassis.client import app_of, dialogue

SPOILT = (b"\xff\xfe", b"caf\xc3\xa9", b"a\xed\xa0\x80b")
ODD = (
    "", "\t", "a\tb", '"', "=;=", "Bearer", "Bearer  ", "100-continue, 100-continue", "-1", "9" * 5000, "W/",
    "application/json; charset=klingon", 'application/json; charset="', "[::1", "*;q=nan", "x" * 8000,
)  # fmt: skip
TEXTS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=60)
BYTES = st.binary(max_size=60).map(lambda raw: raw.replace(b"\n", b"").replace(b"\r", b""))


async def read_everything(request: web.Request) -> web.Response:
    """As our handlers read."""
    query.parse(request)
    if token := query.bearer(request):
        Verifier({}, issuer="a", audience="b").verify(token)
    identify(request, ())
    choose_encoder(request.headers.get(hdrs.ACCEPT, ""))
    found = [request.if_none_match, dict(request.cookies)]
    found += [await read_json(request)] if request.method == "POST" else []
    return web.json_response({"read": len(found)})


HEADERS = st.tuples(st.sampled_from(READ), TEXTS.map(str.encode) | BYTES)


@pytest.fixture
async def url() -> AsyncIterator[str]:
    app = app_of(web.get("/thing", read_everything), web.post("/thing", read_everything))
    async with serve(app, "127.0.0.1:0", name="test") as where:
        yield where


async def asked(
    url: str, *lines: bytes, target: bytes = b"/thing", body: bytes | None = None
) -> tuple[int, str]:
    """Status and code of the answer; the code of a success is empty."""
    method = b"GET" if body is None else b"POST"
    more = [] if body is None else [b"Content-Length: %d" % len(body)]
    if body is not None and not any(line.lower().startswith(b"content-type:") for line in lines):
        more.append(b"Content-Type: application/json")
    head = [method + b" " + target + b" HTTP/1.1", b"Host: a", b"Connection: close"]
    answer = await dialogue(url, b"\r\n".join([*head, *more, *lines, b"", body or b""]))
    first, _, content = answer.partition(b"\r\n\r\n")
    status = int(first.split()[1])
    return status, "" if status < 400 else json.loads(content)["code"]


@pytest.mark.parametrize("value", SPOILT)
@pytest.mark.parametrize("name", READ)
async def test_bytes_that_are_no_letters_are_malformed_in_every_header_that_is_read(
    url: str, name: str, value: bytes
) -> None:
    with capture_logs() as lines:
        assert await asked(url, name.encode() + b": " + value) == (400, "malformed_request")
        assert await asked(url, name.encode() + b": " + value, body=b"{}") == (400, "malformed_request")
    assert not any("exc_info" in line for line in lines)


@pytest.mark.parametrize("value", SPOILT)
async def test_bytes_that_are_no_letters_are_malformed_in_the_address(url: str, value: bytes) -> None:
    for target in (b"/thing/" + value, b"/thing?kind=" + value, value, b"http://" + value + b"/thing"):
        assert await asked(url, target=target) == (400, "malformed_request")


@pytest.mark.parametrize("value", SPOILT)
async def test_what_nobody_reads_may_hold_anything(url: str, value: bytes) -> None:
    assert await asked(url, b"User-Agent: " + value, b"Cookie: a=" + value, b"Referer: " + value) == (200, "")


@pytest.mark.parametrize("value", ["200-ok", "100-continue, x"])
async def test_an_expectation_that_nobody_meets_is_said_so(url: str, value: str) -> None:
    assert await asked(url, f"Expect: {value}".encode()) == (417, "expectation_failed")


async def test_a_client_that_waits_for_leave_to_send_gets_it(url: str) -> None:
    answer = await dialogue(
        url,
        b"POST /thing HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: 100-continue\r\n"
        b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
    )
    assert answer.startswith(b"HTTP/1.1 100 ")
    assert b"HTTP/1.1 200 " in answer


@pytest.mark.parametrize("value", ODD)
async def test_an_odd_header_is_the_callers_fault_at_most(url: str, value: str) -> None:
    for name in READ:
        line = f"{name}: {value}".encode()
        for lines in ((line,), (line, line)):
            status, code = await asked(url, *lines)
            assert status in (200, 400, 401, 415, 417), (name, code)


async def test_nothing_that_is_sent_makes_us_fail(url: str) -> None:
    @settings(max_examples=150)
    @given(st.lists(HEADERS, max_size=4), BYTES, BYTES)
    def judge(headers: list[tuple[str, bytes]], path: bytes, body: bytes) -> None:
        cases.append(([name.encode() + b": " + value for name, value in headers], path, body))

    cases: list[tuple[list[bytes], bytes, bytes]] = []
    judge()
    for lines, path, body in cases:
        target = b"/thing?" + path.replace(b" ", b"")
        assert (await asked(url, *lines, target=target))[0] < 500, (lines, target)
        assert (await asked(url, *lines, body=body))[0] < 500, (lines, body)
