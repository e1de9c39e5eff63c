"""Shortening: the same text in fewer words, with its structure, and honest about where it stops."""

import pytest

from listener.text.blocks import split_blocks
from listener.text.shortening import shorten
from listener.text.words import count_words
from tests.listener.text.corpus import CORPUS, Sample

PROSE = [sample for sample in CORPUS if sample.name != "en_memo"]
(MEMO,) = (sample.text for sample in CORPUS if sample.name == "en_memo")


@pytest.mark.parametrize("sample", PROSE, ids=str)
@pytest.mark.parametrize("ratio", [0.5, 0.6, 0.75, 0.9])
def test_the_ratio_is_met_or_it_says_that_it_stopped(sample: Sample, ratio: float) -> None:
    found = shorten(sample.text, ratio=ratio)
    assert abs(found.ratio - ratio) <= (0.16 if found.limited else 0.1)
    assert not found.limited or ratio < 0.6
    assert found.ratio == pytest.approx(count_words(found.text) / count_words(sample.text), abs=0.02)


@pytest.mark.parametrize("sample", PROSE, ids=str)
def test_every_paragraph_keeps_its_first_sentence(sample: Sample) -> None:
    found = shorten(sample.text, ratio=0.5).text.split("\n\n")
    assert len(found) == len(sample.text.strip().split("\n\n"))


@pytest.mark.parametrize("sample", PROSE, ids=str)
def test_no_paragraph_loses_more_than_three_fifths(sample: Sample) -> None:
    after = shorten(sample.text, ratio=0.3).text.split("\n\n")
    for before, left in zip(sample.text.strip().split("\n\n"), after, strict=True):
        assert count_words(left) >= 0.38 * count_words(before)


def test_headings_items_code_quotes_and_links_stay() -> None:
    text = (
        MEMO + "\n```\nmake restore\n```\n\n> Nobody tests it.\n\nSee [the plan](https://example.org/plan).\n"
    )
    before, after = split_blocks(text), split_blocks(shorten(text, ratio=0.5).text)
    for kind in ("heading", "code", "quote"):
        assert [b.text for b in before if b.kind == kind] == [b.text for b in after if b.kind == kind]
    assert sum(block.kind == "item" for block in after) == 3
    assert "[the plan](https://example.org/plan)" in after[-1].text


def test_rules_alone_are_enough_where_they_reach_the_ratio() -> None:
    found = shorten(
        "In order to win, we train. Due to the fact that it rained, the game was very short.", ratio=0.75
    )
    assert (found.method, found.limited) == ("rules", False)
    assert found.text == "To win, we train. Because it rained, the game was short."


def test_a_sentence_said_twice_is_said_once() -> None:
    said = "The bridge will be closed until the end of the year."
    text = f"{said} Drivers must take the road through Melford.\n\nThe ferry is free. {said} It is small.\n"
    assert shorten(text, ratio=0.75).text.count(said) == 1


def test_it_stops_where_a_summary_would_begin_and_says_so() -> None:
    found = shorten(CORPUS[0].text, ratio=0.1)
    assert found.limited
    assert found.ratio >= 0.35


def test_a_ratio_of_one_changes_nothing() -> None:
    text = CORPUS[0].text.strip()
    found = shorten(text, ratio=1.0)
    assert (found.text, found.method, found.ratio) == (text, "none", 1.0)


def test_the_pieces_make_up_the_text() -> None:
    found = shorten(MEMO, ratio=0.6)
    assert "".join(found.pieces).strip() == found.text
    assert len(found.pieces) > 5


def test_sentences_with_figures_outlive_those_without() -> None:
    text = "We met. The harbour cost 41 million euros in 2019. People talked about this and that. It ended."
    assert "41 million" in shorten(text, ratio=0.6).text


def test_an_empty_text_stays_empty() -> None:
    assert shorten("", ratio=0.5).text == ""


WORDLESS = ["🙏", "--", "• •", "…", "?!", "* * *", "👨‍👩‍👧", "🏴󠁧󠁢󠁳󠁣󠁴󠁿", "()", "— — —", "\u3000", "_", "###", "| |"]


@pytest.mark.parametrize("block", WORDLESS)
@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.9])
def test_a_block_without_words_stays_as_it_is(block: str, ratio: float) -> None:
    text = f"{CORPUS[0].text.strip()}\n\n{block}\n\n{CORPUS[2].text.strip()}"
    assert f"\n\n{block}\n\n" in shorten(text, ratio=ratio).text
    alone = shorten(block, ratio=ratio)
    assert (alone.text, alone.ratio, alone.limited) == (block.strip(), 1.0, False)


@pytest.mark.parametrize("block", WORDLESS)
def test_a_sentence_without_words_may_begin_a_paragraph(block: str) -> None:
    text = f"{block}. {CORPUS[0].text.strip()}"
    assert 0.3 < shorten(text, ratio=0.5).ratio < 0.7
