"""Estimating tokens: never far below what the common tokenizers make of a text."""

import pytest

from listener.text.tokens import estimate_tokens, script_of

# Characters per token of the least efficient of four measured tokenizers; the estimate must not be below what
# it gives.
WORST = {
    "The county council said on Tuesday that the bridge will close to all traffic. ": 4.7,
    "Der Gemeinderat hat am Montagabend über den Umbau des Stadtwaldes beschlossen. ": 3.6,
    "В Карельске закрыли на карантин все школы из-за вспышки гриппа. ": 2.2,
    "临江市将从明年一月一日起禁止燃油摩托车进入市中心。": 0.7,
    "أعلنت وزارة المياه أمس أن محطة تحلية المياه الجديدة ستبدأ العمل. ": 1.1,
    "सोनपुर जिले के सभी सरकारी स्कूलों में अगले सत्र से पुस्तकालय खोले जाएंगे। ": 1.0,
    "1742,20931,4.77;8812,0.14;": 1.1,
}


@pytest.mark.parametrize(("text", "characters_per_token"), WORST.items())
def test_the_estimate_is_not_below_the_worst_tokenizer(text: str, characters_per_token: float) -> None:
    assert estimate_tokens(text * 20) >= len(text) * 20 / characters_per_token * 0.95


def test_the_estimate_of_english_is_not_wildly_above_either() -> None:
    text = "The county council said on Tuesday that the bridge will close to all traffic. " * 20
    assert estimate_tokens(text) <= len(text) / 4.7 * 2


def test_nothing_is_nothing() -> None:
    assert estimate_tokens("") == 0


def test_any_character_counts_even_halves_of_pairs() -> None:
    assert estimate_tokens("😀\ud800𠀀") > 0


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("Guten Tag, schöne Grüße", "latin"),
        ("Привет, мир", "cyrillic"),
        ("你好世界 ok", "cjk"),
        ("मैं हूँ", "indic"),
        ("12345678 ok", "latin"),
        ("123", "other"),
    ],
)
def test_the_script_is_that_of_most_letters(text: str, script: str) -> None:
    assert script_of(text) == script
