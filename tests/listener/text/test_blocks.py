"""Cutting into blocks: the structure that people write, Markdown or not, and nothing lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.text.blocks import plain_text, split_blocks

DOCUMENT = """# Title

First paragraph,
wrapped by hand.

Setext
------
- item one
- item two
  goes on
1. numbered

```python
x = 1

y = 2
```

> said
> somebody

| a | b |
|---|---|

A Plain Heading

The paragraph under it is longer than the heading.

---
"""


def test_every_kind_of_block_is_told_apart() -> None:
    kinds = [(block.kind, block.level) for block in split_blocks(DOCUMENT)]
    assert kinds == [
        ("heading", 1),
        ("paragraph", 0),
        ("heading", 2),
        ("item", 0),
        ("item", 0),
        ("item", 0),
        ("code", 0),
        ("quote", 0),
        ("table", 0),
        ("heading", 2),
        ("paragraph", 0),
        ("rule", 0),
    ]


def test_a_fence_that_is_never_closed_is_a_paragraph() -> None:
    assert [block.kind for block in split_blocks("```\nno end\n\nnext")] == ["paragraph", "paragraph"]


def test_code_keeps_its_blank_lines_and_indentation() -> None:
    (block,) = split_blocks("    if x:\n        return {y}")
    assert (block.kind, block.text) == ("code", "    if x:\n        return {y}")


@pytest.mark.parametrize("line", ["Ends like a sentence.", "- an item", "lower case", "And so on,"])
def test_a_lone_short_line_that_is_no_heading_stays_what_it_is(line: str) -> None:
    assert split_blocks(f"{line}\n\nThe paragraph that follows is longer than that.")[0].kind != "heading"


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("## A **bold** title ##", "A bold title"),
        ("Title\n=====", "Title"),
        ("- [x] done\n  today", "done today"),
        ("12) twelfth", "twelfth"),
        ("> one\n> two", "one two"),
    ],
)
def test_plain_text_has_no_marks_and_one_line(text: str, plain: str) -> None:
    assert plain_text(split_blocks(text)[0]) == plain


@given(st.text(alphabet="ab.#`~-*|> \n\t1)=_A", max_size=200))
def test_between_blocks_stand_only_blanks_and_each_block_is_where_it_says(text: str) -> None:
    position = 0
    for block in split_blocks(text):
        assert not text[position : block.start].strip()
        assert text[block.start : block.end] == block.text != ""
        position = block.end
    assert not text[position:].strip()


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("````\n```\n````\n\na.", ["code", "paragraph"]),
        ("```\na\n`````\n\nb.", ["code", "paragraph"]),
        ("~~~\n```\n~~~\n```\nb.", ["code", "paragraph"]),
        ("```py\na\n```py\nb.", ["paragraph"]),
        ("````\na\n```\nb.", ["paragraph"]),
    ],
)
def test_a_fence_is_closed_by_the_next_one_of_its_kind_that_is_as_long(text: str, kinds: list[str]) -> None:
    assert [block.kind for block in split_blocks(text)] == kinds
