"""Cutting into sentences: abbreviations, ordinals, initials, quotations, and scripts without blanks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.text.sentences import (
    join_sentences,
    last_sentence_complete,
    split_sentences,
    trim_to_sentence,
)
from listener.text.words import count_words

# Each list is cut out of its own text, put together with blanks.
TEXTS: dict[str, list[str]] = {
    "en": [
        "Dr. Smith went to Washington, D.C., at 3 p.m. on Monday.",
        "He paid $3.50, i.e. too much, for no. 7 (see fig. 3).",
        "He said no.",
        "Then J. R. R. Tolkien left.",
        '"Stop!" he said.',
        "Was it over?",
        "They bought U.S. bonds etc. from Acme Inc. in May.",
    ],
    "de": [
        "Am 3. Mai 1999 traf Dr. Müller z. B. die Kanzlerin.",
        "Das war nach dem 2. Weltkrieg.",
        "Er zahlte ca. 5 Mio. Euro usw.",
        "Dann kam das Jahr 1990.",
        "„Ich gehe. Du bleibst.“",
        "Das sagte sie am 12. August.",
    ],
    "fr": ["M. Dupont est arrivé à 8 h.", "Il a dit : « Bonjour. Je pars. »", "Puis, cf. p. 12, il partit."],
    "es": ["El Sr. Gómez llegó a EE.UU. en enero.", "¿Qué hora es?", "¡Son las tres!", "Ud. no lo sabe."],
    "tr": ["Prof. Yılmaz 3. sınıfta okudu.", "Bu çok iyi.", "20. yüzyılda oldu."],
    "ru": ["А. С. Пушкин родился в 1799 г. в Москве.", "Он писал стихи, прозу и т. д.", "Потом он умер."],
    "ar": ["ذهب أحمد إلى المدرسة.", "هل عاد؟", "نعم، عاد مساءً."],
    "hi": ["यह एक वाक्य है।", "क्या यह दूसरा है?", "हाँ।"],
}  # fmt: skip


@pytest.mark.parametrize(("language", "sentences"), TEXTS.items())
def test_sentences_end_where_a_reader_says(language: str, sentences: list[str]) -> None:
    assert split_sentences(" ".join(sentences), language) == sentences


def test_chinese_sentences_touch_each_other() -> None:
    assert split_sentences("今天天气很好。我们去公园了！真的吗？“你好。”他说。", "zh") == [
        "今天天气很好。",
        "我们去公园了！",
        "真的吗？",
        "“你好。”他说。",
    ]


def test_a_bracket_or_a_link_is_not_torn_apart() -> None:
    text = "It works (see there. It is long). Read [the docs. Part one](http://x.y/z). Done."
    assert len(split_sentences(text, "en")) == 3


def test_headings_items_and_code_are_pieces_of_their_own() -> None:
    text = "# Head. Line\n\n- one. Two\n- three\n\n```\na. B\n```"
    assert split_sentences(text, "en") == ["# Head. Line", "- one.", "Two", "- three", "```\na. B\n```"]


def test_a_text_without_end_marks_comes_in_pieces_that_can_be_ranked() -> None:
    pieces = split_sentences("so we went there and then he said that " * 60, "en")
    assert max(map(count_words, pieces)) <= 100


@pytest.mark.parametrize(
    ("text", "complete"),
    [
        ("One. Two.", True),
        ("One. Two", False),
        ("他说“好。”", True),
        ("यह वाक्य है।", True),
        ("- one\n- two", True),
        ("- One.\n- Two", False),
        ("Text.\n\n```\nx\n```", True),
        ("", False),
    ],
)
def test_a_cut_answer_is_told_from_a_whole_one(text: str, complete: bool) -> None:
    assert last_sentence_complete(text) is complete


def test_trimming_ends_after_the_last_whole_sentence() -> None:
    assert trim_to_sentence("One two. Three four! Five six") == "One two. Three four!"
    assert trim_to_sentence("no end here") == ""


def test_sentences_are_joined_as_their_script_does() -> None:
    assert join_sentences(["A b.", "C d."]) == "A b. C d."
    assert join_sentences(["今天。", "明天。"]) == "今天。明天。"


@given(st.text(alphabet='aB1.!?。"“”„()«» \n-', max_size=120))
def test_nothing_but_blanks_is_lost(text: str) -> None:
    assert "".join("".join(split_sentences(text, "en")).split()) == "".join(text.split())
