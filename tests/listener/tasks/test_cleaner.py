"""Hygiene of a stream: what is not the answer never reaches a reader, however the chunks are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.tasks.cleaner import Cleaner, clean

CASES = {
    "<think>hm\nlong</think>\n\nSure! Here is the summary:\n\nIt costs 3 < 4 pounds.\n\nLet me know!": (
        "It costs 3 < 4 pounds."
    ),
    "all of this was thought</think>The answer.\nMore.": "The answer.\nMore.",
    "```markdown\n# T\n\nBody text.\n```": "# T\n\nBody text.",
    "```\ncode\n```\nafter": "```\ncode\n```\nafter",
    "Text.\n\n```python\nx\n```": "Text.\n\n```python\nx\n```",
    "**Summary:** The bridge.": "The bridge.",
    "## Summary\n\nThe bridge.": "The bridge.",
    "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>The bridge.": (
        "The bridge."
    ),
    "Zusammenfassung:\nDie Brücke.\n\n(12 Wörter)": "Die Brücke.",
    "Voici le résumé :\n\nLe pont.\n\nN'hésitez pas à me demander.": "Le pont.",
    "以下是摘要：\n\n桥梁关闭。\n\n希望对您有帮助。": "桥梁关闭。",
    "In <doc-7f3a>the</doc-7f3a> end<unused12>.": "In the end.",
    "Nothing to clean here.": "Nothing to clean here.",
    "Surely here is no courtesy: only text.": "Surely here is no courtesy: only text.",
    "<reasoning>never closed": "",
    "a < b and b > c, see <b>": "a < b and b > c, see <b>",
    "": "",
}


def _streamed(text: str, size: int) -> tuple[str, Cleaner]:
    cleaner = Cleaner(delimiter="doc-7f3a")
    chunks = [text[at : at + size] for at in range(0, len(text), size)]
    return "".join([*map(cleaner.feed, chunks), cleaner.finish()]), cleaner


@pytest.mark.parametrize(("answer", "expected"), CASES.items())
@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_only_the_answer_is_left(answer: str, expected: str, size: int) -> None:
    published, cleaner = _streamed(answer, size)
    assert cleaner.text == expected
    assert published == expected


def test_what_is_long_enough_is_published_while_it_comes() -> None:
    cleaner = Cleaner()
    published = [cleaner.feed(f"Sentence number {n} of the answer says a little more. ") for n in range(10)]
    assert published[0] == ""
    assert sum(map(bool, published)) >= 5


def test_an_ending_is_held_back_and_then_dropped() -> None:
    body = "The bridge closes today for good. " * 10
    cleaner = Cleaner()
    assert (
        "Let"
        not in cleaner.feed(body + "\n\nLet me know") + cleaner.feed(" if that helps!") + cleaner.finish()
    )
    assert cleaner.text == body.strip()


def test_what_looked_like_an_ending_is_published_when_more_follows() -> None:
    cleaner = Cleaner()
    text = (
        "The bridge closes today for good. " * 10
        + "\n\nI hope that it lasts.\n\nThe mayor said so, and all agreed."
    )
    assert cleaner.feed(text) + cleaner.finish() == cleaner.text == text


def test_a_late_closing_tag_takes_back_what_was_published() -> None:
    cleaner = Cleaner()
    assert cleaner.feed("I think about this for long. " * 20)
    cleaner.feed("</think>The answer.")
    cleaner.finish()
    assert (cleaner.text, cleaner.replaced) == ("The answer.", True)


def test_what_the_source_says_too_is_no_courtesy() -> None:
    letter = "Dear Tom,\n\nthe bridge is closed.\n\nLet me know if you need a lift."
    assert clean(letter, source="Hello. " + letter) == letter


@given(st.text(alphabet="ab <>/|`\nthink.:", max_size=150), st.integers(1, 20))
def test_the_chunks_make_no_difference(text: str, size: int) -> None:
    published, cleaner = _streamed(text, size)
    assert cleaner.text == clean(text, delimiter="doc-7f3a")
    assert cleaner.replaced or published == cleaner.text


def test_what_is_too_long_for_an_ending_is_published_while_it_comes() -> None:
    cleaner = Cleaner()
    begins = "The bridge closes today for good. " * 10 + "\n\n"
    published = [cleaner.feed(piece) for piece in [begins, *["let me know of it "] * 1000]]
    assert sum(map(bool, published)) > 3


def test_an_answer_of_blanks_is_empty() -> None:
    assert clean(" \n" * 10_000) == ""
