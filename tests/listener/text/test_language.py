"""Naming the language: right for real texts, silent for short ones."""

import pytest

from listener.text.language import base_language, detect_language, likely_languages
from tests.listener.text.corpus import CORPUS, Sample


@pytest.mark.parametrize("sample", CORPUS, ids=str)
def test_the_language_of_a_text_is_recognised(sample: Sample) -> None:
    assert detect_language(sample.text) == sample.language


def test_a_text_of_fewer_than_forty_letters_has_no_language() -> None:
    assert detect_language("Das ist kurz. " * 2 + "123 " * 40) is None
    assert likely_languages("") == ()


def test_the_second_guess_is_given_too() -> None:
    assert len(likely_languages("Dies ist ein Satz, der lang genug ist, um erkannt zu werden.")) == 2


@pytest.mark.parametrize(("tag", "base"), [("pt-BR", "pt"), ("zh-Hant-TW", "zh"), ("nb", "no"), ("EN", "en")])
def test_a_tag_is_brought_to_its_language(tag: str, base: str) -> None:
    assert base_language(tag) == base
