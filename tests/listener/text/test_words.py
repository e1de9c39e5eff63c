"""Counting words: as a reader of that script would."""

import pytest

from listener.text.words import count_words, words


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("Hello, world!", 2),
        ("it's a well-known price of 1,234.50 euros", 7),
        ("either—or … both", 3),
        ("- * --- !", 0),
        ("今天天气很好。", 6),
        ("iPhone今天发布", 5),
        ("カタカナとひらがな", 9),
        ("हिन्दी में लिखा गया", 4),
        ("ذهب أحمد إلى المدرسة", 4),
        ("대한민국 서울에서", 2),
    ],
)
def test_words_are_counted_in_every_script(text: str, count: int) -> None:
    assert count_words(text) == count


def test_a_script_without_blanks_is_estimated() -> None:
    assert 4 <= count_words("ประเทศไทยมีอากาศร้อนมาก") <= 7


def test_vowel_signs_belong_to_their_word() -> None:
    assert words("हिन्दी में!") == ["हिन्दी", "में"]


def test_words_lose_their_punctuation_and_ideographs_stand_alone() -> None:
    assert words("“Don't”, 今天abc") == ["Don", "t", "今", "天", "abc"]
