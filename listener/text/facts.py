"""Finds in a text what can be checked without understanding it: numbers, names, addresses, quotations."""

import re
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from listener.text.lexicon import languages, lexicon, lower_pattern
from listener.text.linear import SPACE, WORD, Expression
from listener.text.normalisation import canonical
from listener.text.sentences import split_sentences

# Numbers and capitals stay with `re`: a text may be full of them, and none is walked over twice, since what
# stands before one is looked at first.
_GROUPED = r"\d{0,2}(?:[ \u00a0\u202f'\u2019.,]\d{3})+(?!\d)(?:[.,]\d+)?"
_NUMBER = re.compile(rf"\d(?<!\d\d)(?:{_GROUPED}|\d*+(?:[.,]\d++)*+)")
_SCALE = re.compile(r"\s?([^\s.,;:!?)\u0964]{1,25})")  # longer than any word for a scale
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

_ADDRESS = Expression(
    rf"https?://[^{SPACE})\]>\"']*[^{SPACE})\]>\"'.,;:!?]|[{WORD}.+-]+@[{WORD}-]+(?:\.[{WORD}-]+)+"
)
_CAPITALISED = re.compile(r"(?<![\w@/.-])[^\W\d_a-z]\w*+(?:['\u2019-]\w++)*+")
# Two, for one that never closes would have each match of the other read to the end of the text.
_QUOTATIONS = (
    Expression(
        '["\u201c\u201e\u00ab]'
        f'[{SPACE}]?([^"\u201c\u201d\u201e\u00ab\u00bb]{{12,}}?)[{SPACE}]?'
        '["\u201d\u201c\u00bb]'
    ),
    Expression("\u300c([^\u300d]{6,})\u300d"),
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
    found = dict.fromkeys(addresses(text))
    # An address ends in what looks like an initial or an abbreviation.
    plain = _ADDRESS.sub(lambda _: "it", text) if found else text
    for sentence in split_sentences(plain, language):
        found.update(dict.fromkeys(names_of(sentence)))
    return list(found)


def names_of(sentence: str) -> Iterator[str]:
    """The names in a sentence without addresses; each as often as it says it."""
    first = _ALNUM.search(sentence)
    begins_at = first.start() if first else len(sentence)
    for word in _CAPITALISED.finditer(sentence):
        if len(word[0]) == 1 or not word[0][0].isupper():
            continue
        begins = word.start() <= begins_at or _before(sentence, word.start()) in _OPENERS
        if not begins or word[0].isupper():
            yield word[0]


def addresses(text: str) -> list[str]:
    """URLs and e-mail addresses, in order."""
    if "://" not in text and "@" not in text:
        return []
    return [match[0] for match in _ADDRESS.finditer(text)]


def quotations(text: str) -> list[str]:
    """What stands between quotation marks, if it is longer than a name."""
    return [match[1] for expression in _QUOTATIONS for match in expression.finditer(text)]


def fold(text: str) -> str:
    """Without case, accents and endings' apostrophes, for comparing names."""
    folded = text.casefold()
    if not folded.isascii():
        decomposed = canonical("NFD", folded)
        folded = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    return folded.partition("'")[0].partition("\u2019")[0]


_OPENERS = tuple(':"\u201c\u201e\u00ab(*#>')
_OTHER_DIGIT = re.compile(r"(?![0-9])\d")
_ALNUM = re.compile(r"[^\W_]")


def _before(sentence: str, position: int) -> str:
    """The last character before a position that is no blank."""
    while position and sentence[position - 1].isspace():
        position -= 1
    return sentence[position - 1 : position] if position else ""


def _ascii_digits(text: str) -> str:
    return text.translate(_digits()) if _OTHER_DIGIT.search(text) else text


@cache
def _digits() -> dict[int, str]:
    """The decimal digits of all scripts."""
    found = filter(str.isdecimal, map(chr, range(0x80, sys.maxunicode + 1)))
    return {ord(digit): str(unicodedata.digit(digit)) for digit in found}


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
    lower = text.lower()
    text = text if len(text) == len(lower) else lower
    for match in lower_pattern(written).finditer(lower):
        value = float(written.index(match[0]))
        if value > 1:  # "one" is mostly no number
            word = text[match.start() : match.end()]
            yield Number(word, frozenset({value} | _scaled({value}, text, match.end())))


def _ideographic_numbers(text: str) -> Iterator[Number]:
    for match in _IDEOGRAPHIC.finditer(text):
        yield Number(match[0], frozenset({_read_ideographs(match[0])}))


def _read_ideographs(written: str) -> float:
    """As a float from the beginning: a run of a thousand digits is infinite, not an error or a long sum."""
    total = section = digit = 0.0
    for letter in written:
        if letter in _IDEOGRAPHIC_DIGITS:
            digit = digit * 10 + _IDEOGRAPHIC_DIGITS[letter]
        elif letter in _IDEOGRAPHIC_UNITS:
            section, digit = section + (digit or 1) * _IDEOGRAPHIC_UNITS[letter], 0.0
        else:
            total, section, digit = total + (section + digit or 1) * _IDEOGRAPHIC_MYRIADS[letter], 0.0, 0.0
    return total + section + digit
