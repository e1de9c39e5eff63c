"""The word lists: complete, readable, and found as whole words."""

import re

import pytest

from listener.text.lexicon import Lexicon, languages, lexicon, patterns, word_pattern


def test_the_main_languages_have_lists() -> None:
    assert {"en", "de", "fr", "es", "tr", "ru", "zh", "ar", "hi", "ja"} <= set(languages())


def test_an_unknown_language_has_empty_lists() -> None:
    assert lexicon("xx") == lexicon(None) == Lexicon()


@pytest.mark.parametrize("code", languages())
def test_every_pattern_of_a_language_compiles(code: str) -> None:
    words = lexicon(code)
    for pattern in (*words.preambles, *words.closings, *words.refusals, *words.boilerplate, *words.openers):
        re.compile(pattern)


@pytest.mark.parametrize("code", languages())
def test_every_filler_becomes_shorter(code: str) -> None:
    assert all(len(shorter) < len(phrase) for phrase, shorter in lexicon(code).fillers)


def test_words_are_found_whole_but_ideographs_anywhere() -> None:
    assert word_pattern(("no", "not", "n't")).findall("No note isn't not") == ["No", "n't", "not"]
    assert word_pattern(("不",)).findall("他不去") == ["不"]


def test_no_words_match_nothing() -> None:
    assert not word_pattern(()).search("anything")


def test_the_patterns_of_all_languages_are_asked_at_once() -> None:
    assert patterns("preambles").match("Hier ist die Zusammenfassung:")
    assert patterns("preambles").match("Sure! Here is a summary:")
