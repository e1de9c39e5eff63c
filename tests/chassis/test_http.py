"""HTTP manners: the one shape of errors, the one line of a call, and which JSON is taken."""

import asyncio
import gzip
import json
import socket
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest
from aiohttp import ClientPayloadError, web
from structlog.testing import capture_logs

from chassis import http
from chassis.http import ApiError, parse_object, read_json, serve
from tests.chassis.client import app_of, client, dialogue

JSON = {"Content-Type": "application/json"}


def raises(error: Exception) -> web.RouteDef:
    async def handler(_request: web.Request) -> web.Response:
        raise error

    return web.get("/thing/{id}", handler)


async def fine(_request: web.Request) -> web.Response:
    return web.json_response({"ok": True})


async def echo(request: web.Request) -> web.Response:
    return web.json_response(await read_json(request))


async def answer_to(error: Exception) -> tuple[int, dict[str, Any], dict[str, str], list[dict[str, Any]]]:
    """Status, body, headers and log lines of a call whose handler raises `error`."""
    with capture_logs() as lines:
        async with client(app_of(raises(error))) as session, session.get("/thing/7") as answer:
            body = await answer.json()
    return answer.status, body, dict(answer.headers), [dict(x) for x in lines if x["event"] == "http.request"]


async def posted(body: bytes, headers: dict[str, str] = JSON, **options: Any) -> tuple[int, dict[str, Any]]:
    app = app_of(web.post("/echo", echo), **options)
    async with client(app) as session, session.post("/echo", data=body, headers=headers) as answer:
        return answer.status, await answer.json()


async def test_an_error_of_ours_is_answered_with_code_message_details_and_hint() -> None:
    error = ApiError(409, "taken", "Choose another.", details=[1], hint="x2", headers={"Retry-After": "9"})
    status, body, headers, _ = await answer_to(error)
    assert status == 409
    assert body == {"code": "taken", "message": "Choose another.", "details": [1], "hint": "x2"}
    assert headers["Retry-After"] == "9"


async def test_an_unknown_exception_is_internal_outside_and_a_traceback_inside() -> None:
    status, body, _, (line,) = await answer_to(KeyError("the inner truth"))
    assert (status, body["code"]) == (500, "internal")
    assert "truth" not in json.dumps(body)
    assert line["log_level"] == "error"
    assert isinstance(line["exc_info"], KeyError)


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.AdminShutdownError("x"),
        ConnectionRefusedError("x"),
        TimeoutError(),
        asyncpg.InternalClientError(),
    ],
)
async def test_a_lost_database_is_an_outage_that_passes(error: Exception) -> None:
    status, body, headers, (line,) = await answer_to(error)
    assert (status, body["code"], headers["Retry-After"]) == (503, "unavailable", "2")
    assert line["log_level"] == "warning"
    assert type(error).__name__ in line["cause"]


async def test_the_servers_own_errors_have_the_same_shape() -> None:
    async with client(app_of(web.get("/thing", fine))) as session:
        async with session.get("/nowhere") as missing:
            assert (missing.status, (await missing.json())["code"]) == (404, "not_found")
        async with session.post("/thing") as wrong:
            assert (wrong.status, (await wrong.json())["code"]) == (405, "method_not_allowed")
            assert wrong.headers["Allow"] == "GET,HEAD"


async def test_a_redirect_stays_a_redirect() -> None:
    app = app_of(raises(web.HTTPSeeOther("/elsewhere")))
    async with client(app) as session, session.get("/thing/7", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, "/elsewhere")
        assert await answer.read() == b""


async def test_a_call_writes_one_line_with_the_route_and_never_the_path() -> None:
    *_, (line,) = await answer_to(ApiError(403, "forbidden", "No."))
    assert line.pop("duration_ms") < 5000
    assert line == {
        "event": "http.request",
        "log_level": "info",
        "app": "test",
        "method": "GET",
        "route": "/thing/{id}",
        "status": 403,
        "error_code": "forbidden",
    }


async def test_a_path_without_a_route_is_not_logged_either() -> None:
    with capture_logs() as lines:
        async with client(app_of()) as session, session.get("/secret-path"):
            pass
    assert [line["route"] for line in lines if line["event"] == "http.request"] == ["unknown"]


async def test_every_answer_forbids_sniffing_and_storing() -> None:
    async with client(app_of(web.get("/thing", fine))) as session:
        for path in ("/thing", "/nowhere"):
            async with session.get(path) as answer:
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                assert answer.headers["Cache-Control"] == "no-store"


async def test_a_handler_may_allow_storing() -> None:
    async def cached(_request: web.Request) -> web.Response:
        return web.Response(headers={"Cache-Control": "max-age=60"})

    async with client(app_of(web.get("/thing", cached))) as session, session.get("/thing") as answer:
        assert answer.headers["Cache-Control"] == "max-age=60"


async def request_id_for(given: str) -> str:
    headers = {"X-Request-Id": given}
    app = app_of(web.get("/thing", fine))
    async with client(app) as session, session.get("/thing", headers=headers) as answer:
        return answer.headers["X-Request-Id"]


async def test_a_request_id_from_the_gateway_is_kept_and_given_back() -> None:
    assert await request_id_for("abcdef-123.x") == "abcdef-123.x"


@pytest.mark.parametrize("given", ["short", "x" * 65, 'quote"quote', "space space", "", "naïve-naïve"])
async def test_a_request_id_of_another_form_is_replaced(given: str) -> None:
    assert len(await request_id_for(given)) == 32


async def test_what_a_handler_logs_carries_the_id_of_its_request() -> None:
    import structlog

    seen = []

    async def handler(_request: web.Request) -> web.Response:
        seen.append(structlog.contextvars.get_contextvars()["request_id"])
        return web.Response()

    async with client(app_of(web.get("/thing", handler))) as session, session.get("/thing") as answer:
        assert seen == [answer.headers["X-Request-Id"]]


async def failing_stream(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"half")
    raise KeyError("too late for a status")


async def test_a_stream_that_fails_is_cut_so_that_nobody_takes_it_as_complete() -> None:
    with capture_logs() as lines:
        async with client(app_of(web.get("/", failing_stream))) as session, session.get("/") as answer:
            with pytest.raises(ClientPayloadError):
                await answer.read()
    (line,) = [line for line in lines if line["event"] == "http.request"]
    assert (line["status"], line["cut"], line["log_level"]) == (200, "by an error", "error")


async def test_a_client_that_leaves_a_stream_is_no_error() -> None:
    left = asyncio.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 65536)
        finally:
            left.set()

    with capture_logs() as lines:
        async with client(app_of(web.get("/", endless))) as session:
            async with session.get("/") as answer:
                await answer.content.read(10)
                answer.close()
            await asyncio.wait_for(left.wait(), 10)
    (line,) = [line for line in lines if line["event"] == "http.request"]
    assert (line["cut"], line["log_level"]) == ("by the client", "info")


async def test_an_object_in_json_is_read() -> None:
    assert await posted(b'{"a": ["x", 1, 2.5, null, "\\u00e4\\ud83d\\ude00"]}') == (
        200,
        {"a": ["x", 1, 2.5, None, "ä😀"]},
    )


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Type": ""},
    ],
)
async def test_another_content_type_is_refused(headers: dict[str, str]) -> None:
    status, body = await posted(b"{}", headers)
    assert (status, body["code"]) == (415, "unsupported_media_type")


async def test_a_compressed_body_is_refused_unopened() -> None:
    bomb = gzip.compress(b"x" * 10_000_000)
    status, body = await posted(bomb, JSON | {"Content-Encoding": "gzip"})
    assert (status, body["code"]) == (415, "unsupported_encoding")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"{'a': 1}",
        b'{"a": 1} x',
        b"[" * 100_000,
        b'{"a":' * 33 + b"1" + b"}" * 33,
        b'{"a": 1, "a": 2}',
        b'{"a": {"b": 1, "b": 2}}',
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b"\xef\xbb\xbf{}",
        b'{"a": "\xff"}',
        b'{"a": "\xed\xa0\x80"}',
        "{}".encode("utf-16"),
    ],
)
def test_what_is_no_strict_json_is_refused(raw: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        parse_object(raw)
    assert (caught.value.status, caught.value.code) == (400, "invalid_json")


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"[]", "invalid_body"),
        (b'"text"', "invalid_body"),
        (b"null", "invalid_body"),
        (b'{"a": "x\\u0000"}', "invalid_text"),
        (b'{"x\\u0000": 1}', "invalid_text"),
        (b'{"a": [{"b": "\\ud800"}]}', "invalid_text"),
        (b'{"a": "\\udc00\\ud800"}', "invalid_text"),
    ],
)
def test_json_that_no_endpoint_can_use_is_refused(raw: bytes, code: str) -> None:
    with pytest.raises(ApiError) as caught:
        parse_object(raw)
    assert (caught.value.status, caught.value.code) == (422, code)


def test_brackets_inside_of_texts_are_no_depth() -> None:
    assert parse_object(b'{"a": "' + b'[{\\"' * 100 + b'"}') == {"a": '[{"' * 100}


async def test_the_size_of_a_body_is_limited_to_the_byte() -> None:
    body = b'{"a": "xx"}'
    assert (await posted(body, max_body_bytes=len(body)))[0] == 200
    status, refusal = await posted(body, max_body_bytes=len(body) - 1)
    assert (status, refusal["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(
    ("rest", "status"),
    [
        (b"Transfer-Encoding: chunked\r\n\r\n" + b"4000\r\n" + b"x" * 0x4000 + b"\r\n" + b"1\r\nx\r\n", 413),
        (b"Transfer-Encoding: chunked\r\n\r\nnot-hex\r\n", 400),
        (b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400),
        (b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}", 400),
    ],
)
async def test_a_body_with_a_broken_frame_is_refused_and_the_connection_closed(
    rest: bytes, status: int
) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    async with serve(app_of(web.post("/", echo)), "127.0.0.1:0", name="test") as url:
        answer = await asyncio.wait_for(dialogue(url, head + rest), 20)
    assert answer.split()[1] == b"%d" % status
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] in ("body_too_large", "malformed_request")


async def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "BODY_SECONDS", 0.05)
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
    async with serve(app_of(web.post("/", echo)), "127.0.0.1:0", name="test") as url:
        answer = await asyncio.wait_for(dialogue(url, head), 20)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"body_too_slow" in answer


async def test_a_client_that_leaves_inside_of_its_body_is_no_outage() -> None:
    called = asyncio.Event()

    async def slow_echo(request: web.Request) -> web.Response:
        called.set()
        return await echo(request)

    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
    with capture_logs() as lines:
        async with serve(app_of(web.post("/", slow_echo)), "127.0.0.1:0", name="test") as url:
            host, port = url.removeprefix("http://").split(":")
            with socket.create_connection((host, int(port))) as leaving:
                leaving.sendall(head)
                await asyncio.wait_for(called.wait(), 10)
    (line,) = [line for line in lines if line["event"] == "http.request"]
    assert (line["status"], line["log_level"]) == (400, "info")


@pytest.mark.parametrize(
    "make", [lambda: ApiError(503, "not_ready", "Wait."), lambda: ApiError(502, "bad", "x")]
)
async def test_a_failure_that_is_meant_is_louder_than_a_refusal(make: Callable[[], ApiError]) -> None:
    *_, (line,) = await answer_to(make())
    assert line["log_level"] == ("warning" if make().status == 503 else "error")
    assert "cause" not in line


@pytest.mark.parametrize("body", [
    b'{"a": %s}' % (b"9" * 5000), b'{"a": -%s}' % (b"9" * 5000), b'{"a": 1e999}', b'{"a": NaN}', b"[" * 9000,
    b'{"a":' * 3000, b'{"a": 1, "a": 2}', b"\xef\xbb\xbf{}", b"{}\0", b'{"a": "\xff"}', b"{\0}\0", b"",
    b'{"a": "%s' % (b"\\" * 9001),
])  # fmt: skip
async def test_a_body_that_is_no_json_is_the_senders_fault(body: bytes) -> None:
    status, answer = await posted(body)
    assert (status, answer["code"]) == (400, "invalid_json")
