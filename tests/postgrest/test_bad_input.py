"""Everything wrong that a person can send: a stable code, a sentence, and nothing stored."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.fix_postgrest import Rest
from tests.postgrest.asking import ASK, NOBODY, rows_of

pytestmark = pytest.mark.services

Body = Mapping[str, Any] | list[Any] | bytes

# Ours, in our words. What is wrong -> what is sent, the answer.
OURS: dict[str, tuple[Body, int, str]] = {
    "no source": ({"task": "summarize"}, 422, "no_source"),
    "a source of null": ({"task": "summarize", "text": None}, 422, "no_source"),
    "a text and an address": (ASK | {"url": "https://example.com/"}, 422, "several_sources"),
    "a text and a document": (ASK | {"document_id": NOBODY}, 422, "several_sources"),
    "an address": ({"task": "summarize", "url": "https://example.com/"}, 422, "source_not_supported"),
    "somebody's document": ({"task": "summarize", "document_id": NOBODY}, 422, "source_not_supported"),
    "an unknown task": (ASK | {"task": "translate"}, 422, "unknown_task"),
    "no task": ({"text": "Some text."}, 422, "unknown_task"),
    "a task in capitals": (ASK | {"task": "SUMMARIZE"}, 422, "unknown_task"),
    "nothing at all": ({}, 422, "unknown_task"),
    "a negative length": (ASK | {"target_words": -3}, 422, "invalid_target_words"),
    "a length of zero": (ASK | {"target_words": 0}, 422, "invalid_target_words"),
    "a length beyond all books": (ASK | {"target_words": 20_001}, 422, "invalid_target_words"),
    "a ratio of one": (ASK | {"target_ratio": 1}, 422, "invalid_target_ratio"),
    "a ratio below zero": (ASK | {"target_ratio": -0.5}, 422, "invalid_target_ratio"),
    "a ratio that is no number": (ASK | {"target_ratio": "NaN"}, 422, "invalid_target_ratio"),
    "an infinite ratio": (ASK | {"target_ratio": "Infinity"}, 422, "invalid_target_ratio"),
    "a length and a ratio": (ASK | {"target_words": 9, "target_ratio": 0.5}, 422, "several_targets"),
    "two megabytes of text": (ASK | {"text": "word " * 400_000}, 413, "text_too_large"),
    "one byte above the limit": (ASK | {"text": "a" * (2**20 + 1)}, 413, "text_too_large"),
    "an empty text": (ASK | {"text": ""}, 422, "empty_text"),
    "a text of blanks": (ASK | {"text": " \n\t\u00a0"}, 422, "empty_text"),
    "a text of dashes": (ASK | {"text": "--- * ---"}, 422, "empty_text"),
    "an unknown model": (ASK | {"model": "gpt-99"}, 422, "unknown_model"),
    "an empty model": (ASK | {"model": ""}, 422, "unknown_model"),
    "an unknown style": (ASK | {"style": "baroque"}, 422, "unknown_style"),
    "a language that is none": (ASK | {"language": "klingon!"}, 422, "invalid_language"),
    "a language with a line break": (ASK | {"language": "en\n"}, 422, "invalid_language"),
    "a title without end": (ASK | {"title": "x" * 301}, 422, "title_too_long"),
    "a priority of seven": (ASK | {"priority": 7}, 422, "invalid_priority"),
    "a time in a thousand years": (ASK | {"run_at": "2999-01-01T00:00:00Z"}, 422, "invalid_run_at"),
    "a time at the end of time": (ASK | {"run_at": "infinity"}, 422, "invalid_run_at"),
    "its own id": (ASK | {"id": NOBODY}, 422, "read_only_column"),
    "its own state": (ASK | {"state": "done"}, 422, "read_only_column"),
    "its own result": (ASK | {"result": "short"}, 422, "read_only_column"),
    "its own checks": (ASK | {"checks": {}}, 422, "read_only_column"),
    "its own age": (ASK | {"created_at": "2020-01-01T00:00:00Z"}, 422, "read_only_column"),
    "more rows than go at once": ([ASK] * 1001, 413, "too_many_rows"),
    "more bytes than go at once": ([ASK | {"text": "a" * 2**20}] * 9, 413, "body_too_large"),
    "an empty list": ([], 400, "no_rows"),
    "null": (b"null", 400, "no_rows"),
    "a JSON text": (b'"Summarise this!"', 400, "no_rows"),
    "a number": (b"42", 400, "no_rows"),
}

# Where PostgREST or Postgres refuses a body before our SQL runs, their own codes stand.
THEIRS: dict[str, tuple[Body, int, str]] = {
    "NUL in the text": (ASK | {"text": "a\0b"}, 400, "22P05"),
    "NUL in the title": (ASK | {"title": "a\0b"}, 400, "22P05"),
    "half a surrogate pair": (b'{"task": "summarize", "text": "a\\ud800b"}', 400, "PGRST102"),
    "the other half": (b'{"task": "summarize", "text": "\\udc00"}', 400, "PGRST102"),
    "bytes that are not UTF-8": (b'{"task": "summarize", "text": "a\xff\xfeb"}', 400, "PGRST102"),
    "a raw NUL": (b'{"task": "summarize", "text": "a\0b"}', 400, "PGRST102"),
    "something that is not JSON": (b"{nope", 400, "PGRST102"),
    "an empty body": (b"", 400, "PGRST102"),
    "a hundred thousand brackets": (b"[" * 100_000, 400, "PGRST102"),
    "a list of numbers": ([1, 2], 400, "PGRST102"),
    "rows of different columns": ([ASK, {"task": "shorten"}], 400, "PGRST102"),
    "an unknown column": (ASK | {"colour": "red"}, 400, "PGRST204"),
    "an owner": (ASK | {"owner": NOBODY}, 400, "PGRST204"),
    "letters for a length": (ASK | {"target_words": "many"}, 400, "22P02"),
    "half a word": (ASK | {"target_words": 3.5}, 400, "22P02"),
    "more words than a number holds": (ASK | {"target_words": 10**20}, 400, "22003"),
    "a ratio with four hundred digits": (
        b'{"task": "summarize", "text": "a", "target_ratio": 1e400}',
        400,
        "22003",
    ),
    "a priority that no number holds": (ASK | {"priority": 99_999}, 400, "22003"),
    "a time in words": (ASK | {"run_at": "soon"}, 400, "22007"),
    "a document that is no id": ({"task": "summarize", "document_id": "zz"}, 400, "22P02"),
}


@pytest.mark.parametrize("what", [*OURS, *THEIRS])
def test_refused(what: str, api: Rest) -> None:
    ada = api.tokens.person()
    body, status, code = (OURS | THEIRS)[what]
    sent = {"body": body} if isinstance(body, bytes) else {"json": body}
    answer = api.post("/requests", token=ada.token(), **sent)
    assert answer.error == (status, code), answer
    assert set(answer.json) == {"code", "message", "details", "hint"}
    assert rows_of(api, ada) == []


@pytest.mark.parametrize("what", OURS)
def test_our_own_refusals_say_what_to_do_and_repeat_nothing(what: str, api: Rest) -> None:
    body, _, _ = OURS[what]
    sent = {"body": body} if isinstance(body, bytes) else {"json": body}
    error = api.post("/requests", token=api.tokens.person().token(), **sent).json
    assert error["message"].endswith(".")
    assert error["details"] is None
    assert not any(word in error["message"] for word in ("gpt-99", "baroque", "klingon"))


@pytest.mark.parametrize(
    "kind", ["application/octet-stream", "text/plain", "multipart/form-data; boundary=x", "image/png", ""]
)
def test_a_body_of_another_kind_is_refused(kind: str, api: Rest) -> None:
    answer = api.post(
        "/requests",
        token=api.tokens.person().token(),
        body=b'{"task": "summarize"}',
        headers={"Content-Type": kind},
    )
    assert answer.error == (400, "PGRST102")


@pytest.mark.parametrize(("body", "status", "code"), [
    ({"id": "zz"}, 400, "22P02"), ({"id": NOBODY}, 404, "request_not_found"), ({}, 404, "PGRST202"),
    ({"id": NOBODY, "force": True}, 404, "PGRST202"), ({"id": None}, 404, "request_not_found"),
], ids=str)  # fmt: skip
@pytest.mark.parametrize("function", ["cancel", "retry"])
def test_cancel_and_retry_need_the_id_of_a_request(
    function: str, body: dict[str, Any], status: int, code: str, api: Rest
) -> None:
    assert api.post(f"/rpc/{function}", token=api.tokens.person().token(), json=body).error == (status, code)
