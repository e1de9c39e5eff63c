"""Reading calls: durations, types, and refusals in the words that clients look for."""

from typing import Any

import pytest

from listener.engine.calls import Refusal, read_chat, read_generate, read_object

USER = {"role": "user", "content": "text"}


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("30m", 1800),
        ("1h30m", 5400),
        ("500ms", 0.5),
        (-1, -1),
        ("-1", -1),
        ("-1m", -60),
        (0, 0),
        ("90", 90),
        (None, None),
    ],
)
def test_keep_alive_is_read_as_go_writes_it(written: Any, seconds: float | None) -> None:
    assert read_chat({"model": "extractive", "keep_alive": written}).keep_alive == seconds


def test_the_prompt_is_all_messages_and_only_the_users_are_orders() -> None:
    call = read_chat({"model": "extractive", "messages": [{"role": "system", "content": "be brief"}, USER]})
    assert (call.users, call.prompt, call.empty) == (("text",), "be brief\ntext", False)


def test_generate_has_one_prompt() -> None:
    assert read_generate({"model": "extractive:latest", "prompt": "text"}).users == ("text",)


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({}, 400, "model is required"),
        ({"model": "llama3"}, 404, "model 'llama3' not found"),
        ({"model": 7}, 400, "cannot unmarshal number into field model"),
        ({"model": "extractive", "messages": ["x"]}, 400, "cannot unmarshal"),
        ({"model": "extractive", "messages": [{**USER, "images": ["aGk="]}]}, 400, "does not support vision"),
        ({"model": "extractive", "messages": [USER], "think": True}, 400, "does not support thinking"),
        ({"model": "extractive", "keep_alive": "soon"}, 400, 'invalid duration "soon"'),
        ({"model": "extractive", "keep_alive": "5\u00b2"}, 400, "invalid duration"),
        ({"model": "extractive", "keep_alive": True}, 400, "invalid duration"),
        ({"model": "extractive", "keep_alive": []}, 400, "invalid duration"),
        ({"model": "extractive", "keep_alive": float("nan")}, 400, "invalid duration"),
        ({"model": "extractive", "keep_alive": 10**400}, 400, "invalid duration"),
        ({"model": "extractive", "keep_alive": f"{'9' * 400}h"}, 400, "invalid duration"),
        ({"model": "extractive", "options": {"num_predict": "x"}}, 400, "field num_predict"),
        ({"model": "extractive", "stream": "no"}, 400, "field stream"),
    ],
)
def test_what_cannot_be_done_is_refused_in_known_words(body: dict[str, Any], status: int, words: str) -> None:
    with pytest.raises(Refusal, match=words) as refused:
        read_chat(body)
    assert refused.value.status == status


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "missing request body"),
        (b" \n", "missing request body"),
        (b"{", "invalid JSON"),
        (b"[1]", "cannot unmarshal array"),
        (b"[" * 99999, "invalid JSON"),
    ],
)
def test_a_body_that_is_no_object_is_refused(raw: bytes, words: str) -> None:
    with pytest.raises(Refusal, match=words):
        read_object(raw)
