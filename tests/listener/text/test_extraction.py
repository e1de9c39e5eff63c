"""Extracts of real texts in twelve forms: the facts that matter, in the words and the order of the source."""

from pathlib import Path

import pytest

from listener.text.extraction import best_sentences, extract, running_text
from listener.text.words import count_words
from tests.listener.text.corpus import CORPUS, Sample


def _squeezed(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize("sample", CORPUS, ids=str)
def test_an_extract_holds_the_facts_that_matter(sample: Sample) -> None:
    found = running_text(extract(sample.text, target_words=sample.words))
    hit = [fact for fact in sample.facts if any(spelling in found for spelling in fact)]
    assert len(hit) >= sample.hits, found


@pytest.mark.parametrize("sample", CORPUS, ids=str)
@pytest.mark.parametrize("share", [0.2, 0.35, 0.5])
def test_an_extract_is_as_long_as_was_asked(sample: Sample, share: float) -> None:
    target = round(count_words(sample.text) * share)
    assert 0.8 <= count_words(running_text(extract(sample.text, target_words=target))) / target <= 1.2


@pytest.mark.parametrize("sample", CORPUS, ids=str)
def test_every_sentence_is_copied_and_in_order(sample: Sample) -> None:
    source, position = _squeezed(sample.text), 0
    for sentence in extract(sample.text, target_words=sample.words).sentences:
        position = source.index(_squeezed(sentence).rstrip("."), position)


@pytest.mark.parametrize("sample", CORPUS, ids=str)
def test_every_text_has_a_short_title(sample: Sample) -> None:
    title = extract(sample.text, target_words=sample.words).title
    assert 4 <= count_words(title) <= 40
    assert title[-1] not in ".。।"


def test_the_same_text_gives_the_same_extract() -> None:
    text = CORPUS[0].text
    assert extract(text, target_words=60) == extract(text, target_words=60)


def test_marks_of_markdown_do_not_get_into_prose() -> None:
    text = "# T\n\n- **Bold** [link](http://x.y) stays readable here\n- `code` *stays* as it is, here too."
    assert best_sentences(text, words=50) == [
        "Bold link stays readable here.",
        "`code` stays as it is, here too.",
    ]


def test_boilerplate_headings_and_code_are_left_out() -> None:
    text = (
        "# News\n\nSkip to main content\n\nThe bridge over the river closes in March for repairs.\n\n"
        "```\nprint('The bridge')\n```\n\nPage 3 of 9\n\n© 2024 Bridge News. All rights reserved."
    )
    assert best_sentences(text, words=80) == ["The bridge over the river closes in March for repairs."]


def test_the_title_is_the_documents_own_if_it_has_one() -> None:
    assert extract("# On Bridges\n\nThey are old and long.", target_words=20).title == "On Bridges"


def test_an_empty_text_gives_an_empty_extract() -> None:
    found = extract("", target_words=50)
    assert (found.title, found.sentences, found.words) == ("", (), 0)


def test_a_transcript_without_punctuation_is_cut_down_too() -> None:
    text = "\n".join(f"and then we talked about topic {n} and what it costs in town {n}" for n in range(120))
    assert 64 <= extract(text, target_words=80).words <= 96


def test_a_long_document_gets_sentences_from_all_over() -> None:
    readme = Path(__file__).parents[3] / "README.md"
    text = "\n\n".join(
        f"# Part {n}\n\n{sample.text}" for n, sample in enumerate(CORPUS[:3])
    ) + readme.read_text("utf-8")
    found = running_text(extract(text, target_words=200))
    assert "Harlow" in found
    assert "tape" in found
    assert "keys" in found
