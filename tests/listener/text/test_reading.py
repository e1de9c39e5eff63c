"""A text read once: what is known of it is what its parts would say alone."""

import pytest

from listener.text import facts
from listener.text.reading import Reading
from listener.text.sentences import split_sentences
from listener.text.vectors import terms
from listener.text.words import count_words
from tests.listener.text.corpus import CORPUS, Sample


@pytest.mark.parametrize("sample", CORPUS, ids=str)
def test_it_says_what_each_function_says_alone(sample: Sample) -> None:
    reading = Reading(sample.text, sample.language)
    assert reading.count == count_words(sample.text)
    assert reading.sentences == split_sentences(sample.text, sample.language)
    assert reading.names == facts.names(sample.text, sample.language)
    assert reading.terms == set(terms(sample.text))


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("Bridge", True), ("Bridges", True), ("Brücke", True), ("Brucken", True), ("Fridge", False),
        ("https://x.org/a", True), ("https://x.org/a/b.", True), ("b@x.org", True), ("a.b@x.org", True),
        ("https://y.org", False), ("c@x.org", False), ("-", True),
    ],
)  # fmt: skip
def test_a_name_is_known_in_another_case_and_an_address_by_its_ends(name: str, known: bool) -> None:
    assert Reading("The bridge, BRÜCKE, at https://x.org/a/b. Mail a.b@x.org.", "en").knows(name) is known


def test_runs_of_four_words_are_counted_once() -> None:
    one, other = Reading("a b c d a b c d", None), Reading("A B C D e", None)
    assert (one.runs_among(other.runs), other.runs_among(one.runs)) == (1, 1)
