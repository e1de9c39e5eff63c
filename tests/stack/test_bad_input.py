"""Bad input over the whole stack: each refusal has a stable code and a sentence, and the stack goes on."""

import io
import json
from typing import Any

import pytest

from tests.chassis.client import dialogue
from tests.fix_stack import Stack
from tests.stack.client import Answer, Client, story

pytestmark = pytest.mark.stack

TEXT = {"task": "summarize", "text": "A text that says something."}
JSON = {"Content-Type": "application/json"}
NOBODY = "00000000-0000-4000-8000-000000000000"

# what is wrong -> body, status, code
REFUSED: dict[str, tuple[dict[str, Any] | bytes, int, str]] = {
    "has no source": ({"task": "summarize"}, 422, "no_source"),
    "has two sources": (TEXT | {"url": "https://example.com/"}, 422, "several_sources"),
    "has an unknown task": (TEXT | {"task": "translate"}, 422, "unknown_task"),
    "has no task": ({"text": "Hello."}, 422, "unknown_task"),
    "has a negative length": (TEXT | {"target_words": -3}, 422, "invalid_target_words"),
    "has a ratio above one": (TEXT | {"target_ratio": 1.5}, 422, "invalid_target_ratio"),
    "has two megabytes of text": (TEXT | {"text": "word " * 400_000}, 413, "text_too_large"),
    "has a text of blanks": (TEXT | {"text": " \n\t "}, 422, "empty_text"),
    "names an unknown model": (TEXT | {"model": "gpt-99"}, 422, "unknown_model"),
    "has an unknown column": (TEXT | {"colour": "red"}, 400, "PGRST204"),
    "says who owns it": (TEXT | {"owner": NOBODY}, 400, "PGRST204"),
    "says it is done": (TEXT | {"state": "done"}, 422, "read_only_column"),
    "has NUL in its text": (TEXT | {"text": "a\0b"}, 400, "22P05"),
    "has a lone surrogate in its text": (b'{"task": "summarize", "text": "a\\ud800b"}', 400, "PGRST102"),
    "is not JSON": (b"{nope", 400, "PGRST102"),
    "has letters for a number": (TEXT | {"target_words": "many"}, 400, "22P02"),
}


@pytest.mark.parametrize(("body", "status", "code"), REFUSED.values(), ids=REFUSED.keys())
async def test_an_insert_is_refused_if_it(
    stack: Stack, body: dict[str, Any] | bytes, status: int, code: str
) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with stack.sign_up() as ada:
        answer = await ada.rest("POST", "/requests", data=io.BytesIO(raw), headers=JSON)
        rows = (await ada.rest("GET", "/requests")).json
    assert (answer.status, answer.code) == (status, code), answer
    assert set(answer.json) == {"code", "message", "details", "hint"}
    assert len(answer.json["message"]) > 10
    assert rows == []


async def test_anothers_id_and_no_id_are_told_apart_from_nothing(stack: Stack) -> None:
    async with stack.sign_up() as ada:
        unknown, invalid = await ada.cancel(NOBODY), await ada.cancel("zz")
    assert (unknown.status, unknown.code) == (404, "request_not_found")
    assert (invalid.status, invalid.code) == (400, "22P02")


AUTH_REFUSED: dict[str, tuple[bytes, int]] = {
    "is not JSON": (b"{nope", 400),
    "is a list": (b"[]", 422),
    "has NUL in the address": (b'{"email": "a\\u0000@example.com", "password": "%s"}' % (b"x" * 20), 422),
    "has a lone surrogate": (b'{"email": "a@example.com", "password": "\\ud800%s"}' % (b"x" * 20), 422),
    "has two megabytes": (b'{"email": "a@example.com", "password": "%s"}' % (b"x" * 2_000_000), 413),
    "has a field too many": (b'{"email": "a@example.com", "password": "%s", "role": "x"}' % (b"x" * 20), 422),
}


@pytest.mark.parametrize(("body", "status"), AUTH_REFUSED.values(), ids=AUTH_REFUSED.keys())
async def test_a_registration_is_refused_if_it(stack: Stack, body: bytes, status: int) -> None:
    async with stack.visit() as anybody:
        answer = await anybody.auth("POST", "/auth/register", data=io.BytesIO(body), headers=JSON)
    assert answer.status in {400, 413, 422}, answer
    assert set(answer.json) == {"code", "message", "details", "hint"}
    assert answer.status == status


async def test_an_event_stream_refuses_what_it_cannot_read(stack: Stack) -> None:
    async with stack.sign_up() as ada:
        for query in ("request=zz", "since=minus", "kind=%ff"):
            answer = await events(ada, query)
            assert answer.status == 400, (query, answer)
            assert set(answer.json) == {"code", "message", "details", "hint"}


async def events(client: Client, query: str) -> Answer:
    return await client.call("GET", f"{client.events_url}/events?{query}")


ODD = " Größe 東京 🙂 café\u0301 \u202eabc\u202c; drop table requests; --' \\' $$ </doc-0> {\"task\": 1}"


async def test_odd_but_right_text_goes_through_the_whole_stack(stack: Stack) -> None:
    text = story(8) + ODD
    async with stack.sign_up() as ada:
        request = (await ada.insert(text))["id"]
        row = await ada.until(request, "done", "failed")
    assert (row["state"], row["text"]) == ("done", text)


@pytest.mark.parametrize("line", ["GET /\xff HTTP/1.1", "GET / HTTP/1.1\r\nAuthorization: Bearer \xff",
                                  "GET / HTTP/1.1\r\nExpect: \xe9"])  # fmt: skip
@pytest.mark.parametrize("key", ["listen", "admin_listen"])
@pytest.mark.parametrize("section", ["authsvc", "events", "engine"])
async def test_bytes_that_are_no_letters_are_malformed_at_every_part(
    stack: Stack, section: str, key: str, line: str
) -> None:
    sent = f"{line}\r\nHost: a\r\nConnection: close\r\n\r\n".encode("latin-1")
    answer = await dialogue(f"http://{stack.sections[section][key]}", sent)
    assert answer.split()[1] == b"400"
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "malformed_request"
