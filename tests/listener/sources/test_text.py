"""Where a request's text comes from."""

from uuid import uuid4

import pytest

from listener.errors import PermanentError
from listener.queue.jobs import Claimed
from listener.sources.text import load
from tests.listener.tasks.script import here


def claimed(text: str | None) -> Claimed:
    options = (None, None, None, None, "plain", None)
    return Claimed(1, 1, 1, 1, 1, 0, 0.0, 0.0, uuid4(), "summarize", text, *options, uuid4())


async def test_a_text_is_normalised() -> None:
    assert await load(claimed("Cafe\u0301\r\nau\u200b lait"), here) == "Caf\u00e9\nau lait"


@pytest.mark.parametrize(("text", "code"), [(None, "source_not_supported"), ("\u200b \u202e!", "empty_text")])
async def test_what_holds_no_text_is_refused_with_a_sentence(text: str | None, code: str) -> None:
    with pytest.raises(PermanentError) as refused:
        await load(claimed(text), here)
    assert refused.value.code == code
    assert refused.value.message.endswith(".")
