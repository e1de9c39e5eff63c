"""Claims: numbers in all their spellings, names, quotations."""

import pytest

from listener.text.facts import names, numbers, quotations


@pytest.mark.parametrize(
    ("language", "text", "value"),
    [
        ("en", "1,234.5 miles", 1234.5),
        ("de", "1.234,5 km", 1234.5),
        ("de", "6,4 Mio. Euro", 6_400_000),
        ("fr", "1 500 euros", 1500),
        ("fr", "2,3 millions", 2_300_000),
        ("en", "twelve men", 12),
        ("de", "zwölf Männer", 12),
        ("zh", "二亿四千万元", 240_000_000),
        ("zh", "3万人", 30_000),
        ("ar", "٣٠٠ ألف", 300_000),
        ("hi", "१८ करोड़", 180_000_000),
        ("en", "on 2024-05-01", 5),
        ("en", "version 3.2.1", 3),
    ],
)
def test_a_number_is_read_in_every_spelling(language: str, text: str, value: float) -> None:
    assert any(value in number.values for number in numbers(text, language))


def test_one_is_no_number_and_other_languages_words_are_none_either() -> None:
    assert numbers("One cannot go on like that.", "en") == []
    assert numbers("Sie sind sechs.", "en") == []


def test_names_are_capitals_inside_sentences_acronyms_and_addresses() -> None:
    text = "Yesterday Ruth Adeyemi of NASA wrote to a@b.org. See https://x.org/y. Nothing else."
    assert names(text, "en") == ["a@b.org", "https://x.org/y", "Ruth", "Adeyemi", "NASA"]


@pytest.mark.parametrize("marks", ["“{}”", '"{}"', "„{}“", "« {} »", "「{}」"])
def test_quotations_are_found_between_all_kinds_of_marks(marks: str) -> None:
    said = "we could not keep lorries on it"
    assert quotations("He said " + marks.format(said) + " and left.") == [said]


@pytest.mark.parametrize("text", ["九" * 400, "千" * 5000, "9" * 5000, "1.234" * 5000, "亿" * 5000])
def test_a_number_without_end_is_no_error(text: str) -> None:
    assert numbers(text, "zh")


def test_a_quotation_that_never_closes_hides_none_that_does() -> None:
    assert quotations('「 never closed, and "twelve letters or more" then') == ["twelve letters or more"]
