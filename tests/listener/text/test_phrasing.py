"""Rules that shorten a sentence: what they take, and what they must leave alone."""

import pytest

from listener.text.phrasing import tighten


@pytest.mark.parametrize(
    ("language", "before", "after"),
    [
        ("en", "In order to win, train.", "To win, train."),
        ("en", "It failed due to the fact that it rained.", "It failed because it rained."),
        ("en", "It should be noted that the door is shut.", "The door is shut."),
        ("en", "He is a very old man and, of course, tired.", "He is an old man and tired."),
        ("en", "The shop (as everybody in town knew) was shut.", "The shop was shut."),
        ("de", "Er kann zum jetzigen Zeitpunkt kommen.", "Er kann jetzt kommen."),
        ("fr", "Ils sont très hauts afin de protéger la ville.", "Ils sont hauts pour protéger la ville."),
        ("es", "Vino con el fin de ayudar.", "Vino para ayudar."),
    ],
)
def test_fillers_openers_and_asides_go(language: str, before: str, after: str) -> None:
    assert tighten(before, language) == after


@pytest.mark.parametrize(
    ("language", "sentence"),
    [
        ("en", "He is not very well."),
        ("en", "Thank you very much."),
        ("en", "He met very few people."),
        ("en", 'She said "in order to win, be very quick".'),
        ("en", "Call `very` or read [in order to](http://x.y)."),
        ("en", "It fell (by 3 percent) and he left (without a word)."),
        ("en", "The agency (NASA) and the union (UN staff) met."),
        ("de", "Natürlich kommt er."),
        ("de", "Es war so sehr kalt, dass er fror."),
        ("fr", "Il y a de très anciens murs."),
        ("xx", "In order to win, be very quick."),
    ],
)
def test_what_would_lose_its_meaning_is_left_alone(language: str, sentence: str) -> None:
    assert tighten(sentence, language) == sentence
