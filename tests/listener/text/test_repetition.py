"""Repetition: loops are seen early, honest prose is left alone."""

import pytest

from listener.text.repetition import looping, repeated_sentences
from tests.listener.text.corpus import CORPUS, Sample


def test_a_sentence_over_and_over_is_a_loop() -> None:
    assert looping("The bridge will close to all traffic in March. " * 30)


def test_a_short_run_of_words_over_and_over_is_a_loop() -> None:
    assert looping("An honest beginning of some length. " + "and so on and on " * 60)


def test_a_loop_is_seen_at_the_end_of_a_good_text() -> None:
    assert looping(CORPUS[0].text * 4 + " I will say it again." * 200)


@pytest.mark.parametrize("sample", CORPUS, ids=str)
def test_prose_is_no_loop(sample: Sample) -> None:
    assert not looping(sample.text)


def test_a_copy_of_a_source_that_repeats_itself_is_no_loop() -> None:
    table = "\n".join(f"| {n} | not measured | not measured | not measured |" for n in range(99))
    assert looping(table)
    assert not looping("Some words before.\n" + table, source=f"# Table\n\n{table}\n\nEnd.")


def test_only_whole_sentences_said_twice_are_named() -> None:
    text = "The bridge will close soon. Yes. Yes. It is old and long. The bridge will close soon."
    assert repeated_sentences(text) == ["The bridge will close soon."]
