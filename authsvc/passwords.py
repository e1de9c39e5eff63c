"""Which passwords are taken: long enough, not too long, and not one that guessers try first.

Knows no hash and no account. Never asks for digits or symbols, and trims nothing.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from itertools import pairwise

from authsvc.addresses import ASCII_LOWER, Address
from authsvc.errors import UnacceptablePasswordError

MAX_CHARACTERS = 256
MAX_BYTES = 1024
# What people write for letters; 1 is read both ways.
SUBSTITUTIONS = (
    str.maketrans("0134578@$!+", "oieastbasit"),
    str.maketrans("0134578@$!+", "oleastbasit"),
)
ROWS = (
    "`1234567890-=", "qwertyuiop[]\\", "asdfghjkl;'", "zxcvbnm,./", "abcdefghijklmnopqrstuvwxyz",
    "qwertzuiop", "yxcvbnm", "azertyuiop", "qsdfghjklm", "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik,9ol.0p;/",
    "1q2w3e4r5t6y7u8i9o0p", "qawsedrftgyhujikolp", "789456123", "147258369",
)  # fmt: skip
STEPS = {pair for row in ROWS for pair in pairwise(row)}
WALK_SHARE = 0.75  # of neighbouring characters that must be neighbours on a keyboard row too
SHORT_PERIOD = 4  # abc!abc!abc! is as good as abc!
PERSONAL_MIN = 4
DECORATION_MAX = 8  # digits and symbols around a word; more of them may be worth something by themselves


def require_text(password: str) -> None:
    """Raises UnacceptablePasswordError for what cannot be anybody's password, however strong."""
    if len(password) > MAX_CHARACTERS or len(password.encode("utf-8")) > MAX_BYTES:
        message = f"Use a password of at most {MAX_CHARACTERS} characters."
        raise UnacceptablePasswordError("password_too_long", message)
    if not password or any(unicodedata.category(character) == "Cc" for character in password):
        message = "Use a password without control characters such as tabs or line ends."
        raise UnacceptablePasswordError("invalid_password", message)


def require_acceptable(password: str, address: Address, *, min_length: int) -> None:
    """Raises UnacceptablePasswordError if a new account or a change must not use this password."""
    require_text(password)
    if len(unicodedata.normalize("NFC", password)) < min_length:
        message = f"Use a password of at least {min_length} characters; a few random words are good."
        raise UnacceptablePasswordError("password_too_short", message)
    text = password.translate(ASCII_LOWER)
    if text == address.key or is_worn(text, _personal(address)):
        message = "Use a password that is not made of your e-mail address."
        raise UnacceptablePasswordError("password_like_email", message)
    if _is_walk(text) or _period(text) <= SHORT_PERIOD or is_worn(text, common_words()):
        message = "This password is among the first that guessers try. A few random words are better."
        raise UnacceptablePasswordError("password_too_common", message)


@cache
def common_words() -> frozenset[str]:
    """The words and phrases of common_words.txt, which says where they come from."""
    lines = files("authsvc").joinpath("common_words.txt").read_text(encoding="utf-8").splitlines()
    return frozenset(word for line in lines if not line.startswith("#") for word in line.split())


def is_worn(text: str, words: frozenset[str]) -> bool:
    """Whether lower-case `text` is no more than one or two of the words, in any usual disguise.

    Disguises: repeated; with digits and symbols before, after and between; with look-alikes for letters.
    """
    decoration = "".join(character for character in text if not character.isalpha())
    if len(decoration) > DECORATION_MAX and not _is_walk(decoration):
        return False
    return any(_is_made_of(core, words) for core in _cores(text))


def _personal(address: Address) -> frozenset[str]:
    parts = [address.key, address.local_part, address.domain, *re.split(r"[^a-z]+", address.key)]
    return frozenset(core for part in parts if len(core := _letters(part)) >= PERSONAL_MIN)


def _cores(text: str) -> Iterator[str]:
    """The letters that remain when decoration is taken off, in each reading of the look-alikes."""
    bare = re.sub(r"^[\W\d_]+|[\W\d_]+$", "", text)
    yield _letters(bare)
    for substitution in SUBSTITUTIONS:
        yield _letters(bare.translate(substitution))
        yield _letters(text.translate(substitution))


def _letters(text: str) -> str:
    return "".join(filter(str.isalpha, text))


def _is_made_of(core: str, words: frozenset[str]) -> bool:
    unit = core[: _period(core)]
    halves = ((unit[:cut], unit[cut:]) for cut in range(1, len(unit)))
    return bool(unit) and (
        not words.isdisjoint((core, unit)) or any(a in words and b in words for a, b in halves)
    )


def _period(text: str) -> int:
    """The length of the shortest piece that, repeated whole, makes the text."""
    # A text is found again inside its own doubling first where one period has passed.
    return (text + text).find(text, 1)


def _is_walk(text: str) -> bool:
    """Whether it is fingers walking over keys: 1234..., qwerty..., aaaa..., abcd..., 1qaz2wsx..."""
    pairs = list(pairwise(text))
    steps = sum(a == b or (a, b) in STEPS or (b, a) in STEPS for a, b in pairs)
    return steps >= WALK_SHARE * len(pairs)
