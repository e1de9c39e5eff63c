"""Which passwords are taken."""

import itertools

import pytest

from authsvc.addresses import parse
from authsvc.errors import UnacceptablePasswordError
from authsvc.passwords import common_words, require_acceptable, require_text

ADDRESS = parse("alice.smith@example.org")
# How people make a word long enough, by the handful.
TAILS = (
    "1", "12", "123", "1234", "12345", "123456", "1234567", "12345678", "123456789", "1234567890", "1!",
    "123!", "2024", "2025", "20242025", "007", "!!", "69", "1990", "4ever!", "-2024!",
)  # fmt: skip


def fault(password: str, min_length: int = 12) -> str | None:
    try:
        require_acceptable(password, ADDRESS, min_length=min_length)
    except UnacceptablePasswordError as error:
        return error.code
    return None


@pytest.mark.parametrize(
    "password",
    [
        "velvet harbour quiet nine", "monkey dragon princess", "z9$kQmw3!xTy", "  spaces at both ends  ",
        "пароль dragon ветер море", "正しい馬の電池の留め金です", "ünïcödé wörds ärë fine",
        "tiger840275916384",
        "😀🐙🌍🎷🍕🚲📚🧊🌵🪁🎻🧭",
        ("velvet harbour quiet nine " * 10)[:256], "Nine velvet harbours!",
    ],
)  # fmt: skip
def test_is_taken(password: str) -> None:
    assert fault(password) is None


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("", "invalid_password"),
        ("short", "password_too_short"),
        ("elevenchars", "password_too_short"),
        ("e\u0301" * 11, "password_too_short"),
        ("q8" * 129, "password_too_long"),
        ("\U0001f419" * 257, "password_too_long"),
        ("tab\tin the middle of it", "invalid_password"),
        ("password1234", "password_too_common"),
        ("P@ssw0rd1234!", "password_too_common"),
        ("Pa$$w0rd-Pa$$w0rd", "password_too_common"),
        ("administrator", "password_too_common"),
        ("correct horse battery staple", "password_too_common"),
        ("123456789012", "password_too_common"),
        ("aaaaaaaaaaaaa", "password_too_common"),
        ("qwertyuiop12", "password_too_common"),
        ("1qaz2wsx3edc", "password_too_common"),
        ("abc!abc!abc!", "password_too_common"),
        ("dragonmonkey2024", "password_too_common"),
        ("precis-precis-2024", "password_too_common"),
        ("alice.smith@example.org", "password_like_email"),
        ("ALICE.SMITH@EXAMPLE.ORG", "password_like_email"),
        ("Alice-Smith-1984", "password_like_email"),
        ("smith@example123", "password_like_email"),
    ],
)
def test_is_refused_with_a_reason(password: str, code: str) -> None:
    assert fault(password) == code


def test_more_than_three_thousand_common_passwords_are_refused_at_each_minimum() -> None:
    """The top 3000 that satisfy the length rule (ASVS 6.2.4), as far as one can tell without a leak."""
    words = common_words()
    spelled = {word + tail for word, tail in itertools.product(words, TAILS)}
    spelled |= {(word * 2).capitalize() for word in words} | {word for word in words if len(word) >= 12}
    for min_length in (12, 15):
        long_enough = [text for text in spelled if len(text) >= min_length]
        assert len(long_enough) > 3000
        accepted = [text for text in long_enough if fault(text, min_length) is None]
        assert len(accepted) < 0.01 * len(long_enough), accepted


def test_the_bundled_words_are_plain_words_without_duplicates() -> None:
    assert all(word.isascii() and word.isalpha() and word.islower() for word in common_words())
    assert len(common_words()) > 1000


def test_logging_in_asks_nothing_about_strength() -> None:
    require_text("short")
