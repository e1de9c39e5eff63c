"""The wire to a model server: where lines end, how much is listened to, and where texts go."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from email.utils import formatdate
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from listener.model import diagnosis
from listener.model.diagnosis import RETRY_AFTER_CAP_SECONDS, AnswerError, OversizeError, UnreadableError
from listener.model.server import (
    MOST_LISTED_BYTES,
    Record,
    Server,
    read_object,
    read_record,
    read_retry_after,
    split_lines,
)
from tests.fix_postgres import free_port

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
LINES = ["ein \u00dcber\u2028satz\x1c\x85", "", "\u4e2d\u6587 \U0001f64f\r", "last"]


async def chunks(raw: bytes, size: int) -> AsyncIterator[bytes]:
    for begin in range(0, len(raw), size):
        yield raw[begin : begin + size]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("end", ["", "\n"])
async def test_a_line_ends_at_the_newline_alone_however_the_bytes_come(size: int, end: str) -> None:
    raw = ("\n".join(LINES) + end).encode()
    lines = [line.decode() async for line in split_lines(chunks(raw, size), most_bytes=1000)]
    assert lines == LINES


async def test_a_line_without_end_is_not_listened_to() -> None:
    heard = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal heard
        while True:
            heard += 1
            yield b"x" * 1000

    with pytest.raises(OversizeError):
        [line async for line in split_lines(endless(), most_bytes=10_000)]
    assert heard == 11


@pytest.mark.parametrize("raw", [b"\xef\xbb\xbf{}", b" {} \r", b"{}"])
def test_an_object_may_come_with_a_byte_order_mark(raw: bytes) -> None:
    assert read_object(raw) == {}


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b'{"a": "\xff"}', b"7", b"[" * 10_000, b"\x1f\x8b\x08"])
def test_what_is_no_object_is_unreadable(raw: bytes) -> None:
    with pytest.raises(UnreadableError):
        read_object(raw)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("30", 30),
        ("0", 0),
        (formatdate(1_000_030, usegmt=True), 30),
        (formatdate(999_000, usegmt=True), 0),
        ("86400", RETRY_AFTER_CAP_SECONDS),
        ("9" * 400, RETRY_AFTER_CAP_SECONDS),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("Mon, 99 Foo 2026 00:00:00 GMT", None),
    ],
)
def test_a_wish_to_be_left_alone_is_read_within_reason(value: str, seconds: float | None) -> None:
    assert read_retry_after(value, now=1_000_000.0) == seconds


@asynccontextmanager
async def answering(handler: Handler) -> AsyncIterator[str]:
    """A server that answers everything so."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def chat(url: str, *, most_bytes: int = 65_536) -> Sequence[Record]:
    async with Server(url) as server:
        return [record async for record in server.stream_chat({"text": "secret"}, most_bytes=most_bytes)]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_text_goes_to_another_address(status: int) -> None:
    went: list[bytes] = []

    async def other(request: web.Request) -> web.Response:
        went.append(await request.read())
        return web.json_response({})

    async with answering(other) as elsewhere:

        async def redirect(_request: web.Request) -> web.Response:
            return web.Response(status=status, headers={"Location": f"{elsewhere}/api/chat"})

        async with answering(redirect) as url:
            with pytest.raises(AnswerError) as raised:
                await chat(url)
            async with Server(url) as server:
                with pytest.raises(AnswerError):
                    await server.fetch("GET", "/api/tags")
    assert went == []
    assert diagnosis.diagnose(raised.value).code == "model_moved"
    assert elsewhere in diagnosis.reason(raised.value)


async def test_a_refusal_brings_the_wish_to_be_left_alone() -> None:
    async def busy(_request: web.Request) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "17"}, text="slow down")

    async with answering(busy) as url:
        with pytest.raises(AnswerError) as raised:
            await chat(url)
    assert (raised.value.status, raised.value.retry_after_seconds) == (429, 17)


@pytest.mark.parametrize("status", [200, 500])
async def test_of_an_endless_body_only_so_much_is_read(status: int) -> None:
    gone = asyncio.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=status)
        await response.prepare(request)
        try:
            while True:
                await response.write(b" " * 65_536)
        finally:
            gone.set()

    async with answering(endless) as url, Server(url) as server:
        with pytest.raises((OversizeError, AnswerError)) as raised:
            await server.fetch("GET", "/api/tags")
        await asyncio.wait_for(gone.wait(), 20)
    assert isinstance(raised.value, OversizeError) == (status == 200)
    assert str(MOST_LISTED_BYTES) in str(raised.value) or status == 500


async def test_an_answer_that_runs_over_is_closed() -> None:
    gone = asyncio.Event()
    record = json.dumps({"message": {"content": "x" * 50}}).encode() + b"\n"

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(record * 100)
        finally:
            gone.set()

    async with answering(endless) as url:
        with pytest.raises(OversizeError):
            await chat(url, most_bytes=10_000)
        await asyncio.wait_for(gone.wait(), 20)


async def says(raw: bytes, asked: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
    await asked.readuntil(b"\r\n\r\n")
    answer.write(raw)
    answer.close()


RAW = {
    b"SSH-2.0-OpenSSH_9.2\r\n": "stream_broken",
    b"": "stream_broken",
    b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}": "stream_broken",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08\x00\n": "answer_unreadable",
    b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000 + b"\r\n\r\n": "stream_broken",
    b"HTTP/1.1 302 Found\r\n\r\n": "model_moved",
    b"HTTP/1.1 503 No\r\nRetry-After: \xff\r\n\r\n": "model_unavailable",
}


@pytest.mark.parametrize(("raw", "code"), RAW.items(), ids=[f"{raw[:40]!r}" for raw in RAW])
async def test_what_is_hardly_http_is_classed_too(raw: bytes, code: str) -> None:
    server = await asyncio.start_server(lambda asked, answer: says(raw, asked, answer), "127.0.0.1", 0)
    async with server:
        with pytest.raises(diagnosis.CLIENT_ERRORS) as raised:
            await chat(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    assert diagnosis.diagnose(raised.value).code == code


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://127.0.0.1:{free}", "model_unreachable"),
        ("http://no-such-host.invalid", "model_unresolved"),
        ("https://127.0.0.1:{plain}", "model_untrusted"),
        ("ftp://127.0.0.1", "model_unreachable"),
        ("http://127.0.0.1:99999", "model_unreachable"),
        ("http://[::", "model_unreachable"),
    ],
)
async def test_why_a_server_cannot_be_reached_is_told_apart(url: str, code: str) -> None:
    async def fine(_request: web.Request) -> web.Response:
        return web.json_response({})

    async with answering(fine) as plain:
        there = url.replace("{free}", str(free_port())).replace("{plain}", plain.rpartition(":")[2])
        with pytest.raises(diagnosis.CLIENT_ERRORS) as raised:
            await chat(there)
    assert diagnosis.diagnose(raised.value).code == code


async def test_an_address_may_leave_out_its_scheme_and_end_in_a_slash() -> None:
    async def fine(request: web.Request) -> web.Response:
        return web.json_response({"path": request.path})

    async with answering(fine) as url, Server(url.removeprefix("http://") + "/") as server:
        assert await server.fetch("GET", "/api/tags") == {"path": "/api/tags"}


async def test_nothing_is_asked_for_that_would_have_to_be_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    async def fine(request: web.Request) -> web.Response:
        seen.append(request.headers)
        return web.json_response({})

    monkeypatch.setenv("OLLAMA_API_KEY", "secret")
    async with answering(fine) as url, Server(url) as server:
        await server.fetch("GET", "/api/tags")
    assert seen[0]["Accept-Encoding"] == "identity"
    assert "Authorization" not in seen[0]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(alphabet=st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = ("message", "content", "thinking", "done", "done_reason", "error", "prompt_eval_count", "eval_count")
KEYS = st.sampled_from(FIELDS)
RECORDS = st.dictionaries(KEYS, JSON | st.dictionaries(KEYS, JSON, max_size=4), max_size=6)


@given(st.binary(max_size=60) | RECORDS.map(lambda record: json.dumps(record).encode()))
def test_whatever_a_line_is_it_is_a_record_or_an_error_with_a_code(line: bytes) -> None:
    try:
        record = read_record(line)
    except diagnosis.CLIENT_ERRORS as error:
        code = diagnosis.diagnose(error).code
        record = Record(code)
    assert "\0" not in record.text
    assert record.text.encode().decode() == record.text
