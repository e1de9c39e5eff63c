"""Finds in a text what can be checked without understanding it: numbers, names, addresses, quotations."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from listener.text.lexicon import languages, lexicon, word_pattern
from listener.text.sentences import split_sentences

_GROUPED = r"\d{1,3}(?:[ \u00a0\u202f'\u2019.,]\d{3})+(?!\d)(?:[.,]\d+)?"
_NUMBER = re.compile(rf"(?<!\d)(?:{_GROUPED}|\d+(?:[.,]\d+)*)")
_SCALE = re.compile(r"\s?([^\s.,;:!?)\u0964]+)")
_GLUED_SCALE = re.compile("\\s?([\u767e\u5343\u4e07\u842c\u4ebf\u5104])")
_IDEOGRAPHIC = re.compile(
    "[\u96f6\u3007\u4e00\u4e8c\u4e24\u4e09\u56db\u4e94\u516d\u4e03\u516b\u4e5d\u5341\u767e\u5343\u4e07\u842c\u4ebf\u5104]{2,}"
)
_IDEOGRAPHIC_DIGITS = {
    "\u96f6": 0,
    "\u3007": 0,
    "\u4e00": 1,
    "\u4e8c": 2,
    "\u4e24": 2,
    "\u4e09": 3,
    "\u56db": 4,
    "\u4e94": 5,
    "\u516d": 6,
    "\u4e03": 7,
    "\u516b": 8,
    "\u4e5d": 9,
}
_IDEOGRAPHIC_UNITS = {"\u5341": 10, "\u767e": 100, "\u5343": 1000}
_IDEOGRAPHIC_MYRIADS = {"\u4e07": 10**4, "\u842c": 10**4, "\u4ebf": 10**8, "\u5104": 10**8}

_ADDRESS = re.compile(r"https?://[^\s)\]>\"']*[^\s)\]>\"'.,;:!?]|[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_CAPITALISED = re.compile(r"(?<![\w@/.-])[^\W\d_a-z]\w*(?:['\u2019-]\w+)*")
_QUOTATION = re.compile(
    '["\u201c\u201e\u00ab]\\s?([^"\u201c\u201d\u201e\u00ab\u00bb]{12,}?)\\s?["\u201d\u201c\u00bb]|\u300c([^\u300d]{6,})\u300d'
)


@dataclass(frozen=True, slots=True)
class Number:
    """A number as written, with every value it can mean ("1.500" is 1500 or 1.5)."""

    written: str
    values: frozenset[float]


def numbers(text: str, language: str | None) -> list[Number]:
    """All numbers in digits, in words up to twenty (from two on), and in ideographs."""
    text = _ascii_digits(text)
    return [*_digit_numbers(text), *_word_numbers(text, language), *_ideographic_numbers(text)]


def names(text: str, language: str | None) -> list[str]:
    """Capitalised words that do not begin a sentence, words in capitals, addresses; each once, in order."""
    found = dict.fromkeys(_ADDRESS.findall(text))
    for sentence in split_sentences(_ADDRESS.sub("it", text), language):
        for word in _CAPITALISED.finditer(sentence):
            begins = (
                not any(map(str.isalnum, sentence[: word.start()]))
                or sentence[: word.start()].rstrip()[-1:] in _OPENERS
            )
            acronym = word[0].isupper() and len(word[0]) > 1
            if (acronym or not begins) and len(word[0]) > 1 and word[0][0].isupper():
                found[word[0]] = None
    return list(found)


def quotations(text: str) -> list[str]:
    """What stands between quotation marks, if it is longer than a name."""
    return [first or second for first, second in _QUOTATION.findall(text)]


def fold(text: str) -> str:
    """Without case, accents and endings' apostrophes, for comparing names."""
    decomposed = unicodedata.normalize("NFD", text.casefold())
    return re.split(
        "['\u2019]", "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    )[0]


_OPENERS = tuple(':"\u201c\u201e\u00ab(*#>')


def _ascii_digits(text: str) -> str:
    return "".join(str(unicodedata.digit(c)) if c.isdecimal() and not c.isascii() else c for c in text)


def _digit_numbers(text: str) -> Iterator[Number]:
    for match in _NUMBER.finditer(text):
        values = _readings(match[0])
        yield Number(match[0], frozenset(values | _scaled(values, text, match.end())))


def _readings(written: str) -> set[float]:
    """1.234 as 1234 and 1.234; 1,234.5 as 1234.5; 1.2.3 as its parts."""
    pieces = re.split(r"[^\d]", written)
    values = {float("".join(pieces))} if all(len(piece) == 3 for piece in pieces[1:]) else set()
    if len(pieces) > 1 and all(len(piece) == 3 for piece in pieces[1:-1]):
        values.add(float("".join(pieces[:-1]) + "." + pieces[-1]))
    return values or {float(piece) for piece in pieces if piece}


def _scaled(values: set[float], text: str, end: int) -> set[float]:
    following = _GLUED_SCALE.match(text, end) or _SCALE.match(text, end)
    return (
        {value * scale for value in values for scale in _scales().get(following[1].casefold(), ())}
        if following
        else set()
    )


@cache
def _scales() -> dict[str, frozenset[int]]:
    """What "million" and its like multiply by; some words mean two things in two languages."""
    found: dict[str, set[int]] = {}
    for code in languages():
        for word, factor in lexicon(code).scales:
            found.setdefault(word.casefold(), set()).add(factor)
    return {word: frozenset(factors) for word, factors in found.items()}


def _word_numbers(text: str, language: str | None) -> Iterator[Number]:
    written = lexicon(language).numbers
    for match in word_pattern(written).finditer(text):
        value = written.index(match[0].casefold()) if match[0].casefold() in written else 0
        if value > 1:  # "one" is mostly no number
            yield Number(match[0], frozenset({float(value)} | _scaled({float(value)}, text, match.end())))


def _ideographic_numbers(text: str) -> Iterator[Number]:
    for match in _IDEOGRAPHIC.finditer(text):
        yield Number(match[0], frozenset({float(_read_ideographs(match[0]))}))


def _read_ideographs(written: str) -> int:
    total = section = digit = 0
    for letter in written:
        if letter in _IDEOGRAPHIC_DIGITS:
            digit = digit * 10 + _IDEOGRAPHIC_DIGITS[letter]
        elif letter in _IDEOGRAPHIC_UNITS:
            section, digit = section + (digit or 1) * _IDEOGRAPHIC_UNITS[letter], 0
        else:
            total, section, digit = total + (section + digit or 1) * _IDEOGRAPHIC_MYRIADS[letter], 0, 0
    return total + section + digit
