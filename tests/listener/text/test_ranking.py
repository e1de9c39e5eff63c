"""Ranking: central sentences first, no repetition, every part heard, within the budget."""

from dataclasses import replace

import numpy as np
import pytest

from listener.text.ranking import WINDOW_FROM_SENTENCES, Ranked, Sentence, choose, rank
from listener.text.words import count_words


def _sentences(*texts: str, section: int = 0) -> list[Sentence]:
    return [
        Sentence(text, n, section, words=count_words(text), share=section) for n, text in enumerate(texts)
    ]


STORY = _sentences(
    "The council will close the old bridge over the river in March.",
    "The bridge closure will last eleven months, the council said.",
    "A cat slept on a warm wall nearby.",
    "Engineers found that the cables of the old bridge are corroded.",
    "Is that not sad?",
    "The bridge over the river carries many cars for the council.",
)


def test_what_the_rest_is_about_outranks_what_stands_alone() -> None:
    scores = rank(STORY, language="en").scores
    assert scores.argmax() == 0
    assert scores[2] < min(scores[0], scores[1], scores[3])


def test_a_question_counts_less() -> None:
    asked = [*STORY[:1], Sentence(STORY[1].text.replace(".", "?"), 1, 0, words=STORY[1].words), *STORY[2:]]
    assert rank(asked, language="en").scores[1] < rank(STORY, language="en").scores[1]


@pytest.mark.parametrize("budget", [12, 25, 40])
def test_the_choice_keeps_to_the_budget_and_to_the_order(budget: int) -> None:
    chosen = choose(rank(STORY, language="en"), budget)
    assert chosen == sorted(chosen)
    assert sum(STORY[index].words for index in chosen) <= budget * 1.1


def test_the_same_sentence_is_not_chosen_twice() -> None:
    twice = _sentences(*[STORY[0].text, STORY[3].text, STORY[0].text])
    assert choose(rank(twice, language="en"), 100) == [0, 1]


def test_a_sentence_that_points_back_brings_its_predecessor_if_both_fit() -> None:
    pair = _sentences("Bees visit the lavender.", "However, they need water.", "Stones lie about.")
    pair = [replace(sentence, block=0) for sentence in pair]
    ranked = Ranked(pair, np.array([0.1, 1.0, 0.2]), np.zeros((3, 3), np.float32), (False, True, False))
    assert choose(ranked, 8) == [0, 1]
    assert choose(ranked, 4) == [1]


def test_every_section_is_heard() -> None:
    first = _sentences(*[f"The bridge number {n} over the river is old and closed." for n in range(8)])
    second = _sentences("The harbour gets a new crane from Finland in May.", section=1)
    ranked = rank([*first, *second], language="en")
    assert 8 in choose(ranked, 40)


def test_a_budget_below_any_sentence_still_gives_one() -> None:
    assert len(choose(rank(STORY[:2], language="en"), 3)) == 1


def test_nothing_gives_nothing() -> None:
    assert choose(rank([], language="en"), 50) == []


def test_a_very_long_text_is_ranked_in_windows() -> None:
    many = _sentences(*[f"Sentence {n} speaks of item {n % 97} and of place {n % 31}." for n in range(4000)])
    ranked = rank(many, language="en")
    assert 0 < len(ranked.sentences) <= WINDOW_FROM_SENTENCES
    assert sum(ranked.sentences[index].words for index in choose(ranked, 200)) <= 220
