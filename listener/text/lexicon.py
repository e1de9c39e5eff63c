"""The word lists of each language: abbreviations, fillers, openers that point back, negations, polite
preambles.

Data lies in `languages/*.toml`; a language without a file has empty lists, and everything still works,
only coarser."""

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from typing import Any


@dataclass(frozen=True, slots=True)
class Lexicon:
    """One language's lists; words in lower case, patterns as regular expressions without anchors.

    `abbreviations` never end a sentence, `endings` may, `before_number` are abbreviations only before a
    number; `ordinals`: "3." before a word is an ordinal. `starters` are words that begin a sentence,
    `anaphora` those that point back to the sentence before. `fillers` are (phrase, shorter phrase),
    `openers` and `dispensable` go."""

    abbreviations: frozenset[str] = frozenset()
    endings: frozenset[str] = frozenset()
    before_number: frozenset[str] = frozenset()
    ordinals: bool = False
    starters: frozenset[str] = frozenset()
    anaphora: tuple[str, ...] = ()
    negations: tuple[str, ...] = ()
    modals: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    scales: tuple[tuple[str, int], ...] = ()
    preambles: tuple[str, ...] = ()
    closings: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()
    boilerplate: tuple[str, ...] = ()
    openers: tuple[str, ...] = ()
    fillers: tuple[tuple[str, str], ...] = ()
    dispensable: tuple[str, ...] = ()


_NONE = Lexicon()
_SETS = {"abbreviations", "endings", "before_number", "starters"}


def lexicon(language: str | None) -> Lexicon:
    """The lists of a language by its ISO 639-1 code; empty ones where there is no file or no language."""
    return _load().get(language or "", _NONE)


def languages() -> list[str]:
    """The codes of the languages that have lists."""
    return sorted(_load())


@cache
def patterns(name: str) -> re.Pattern[str]:
    """One expression of all languages' `preambles`, `closings`, `refusals` or `boilerplate`."""
    found = {pattern for entry in _load().values() for pattern in getattr(entry, name)}
    return re.compile("|".join(sorted(found, key=len, reverse=True)), re.IGNORECASE)


@cache
def word_pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    """An expression that finds any of the words; whole words, but ideographs and endings such as n't
    anywhere.

    With `re`, since it looks at what stands around a word; each word ends by itself, so that nothing is
    walked over twice. Its boundary is looked at before the words, which saves nearly all of them."""
    groups: dict[tuple[str, str], list[str]] = {}
    for word in sorted(words, key=len, reverse=True):
        groups.setdefault(_bounds(word), []).append(re.escape(word))
    alternatives = (f"{left}(?:{'|'.join(group)}){right}" for (left, right), group in groups.items())
    return re.compile("|".join(alternatives) or r"(?!)", re.IGNORECASE)


@cache
def lower_pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    """The same for a text in small letters: each alternative begins with a letter of its own, which is what
    `re` finds a place to look at by, some times faster."""
    alternatives = []
    for word in sorted(words, key=len, reverse=True):
        left, right = _bounds(word)
        first, rest = re.escape(word[0]), re.escape(word[1:])
        alternatives.append(f"{first}(?<!\\w{first}){rest}{right}" if left else f"{first}{rest}{right}")
    return re.compile("|".join(alternatives) or r"(?!)")


def _bounds(word: str) -> tuple[str, str]:
    left = r"(?<!\w)" if word[0].isalpha() and not _touching(word[0]) and not word.startswith("n't") else ""
    right = r"(?!\w)" if word[-1].isalpha() and not _touching(word[-1]) else ""
    return "" if word in ("n't", "n’t") else left, right


def _touching(letter: str) -> bool:
    return "\u3040" <= letter <= "\u9fff"


@cache
def _load() -> dict[str, Lexicon]:
    folder = resources.files("listener.text") / "languages"
    files = (entry for entry in folder.iterdir() if entry.name.endswith(".toml"))
    return {
        entry.name.removesuffix(".toml"): _lexicon(tomllib.loads(entry.read_text("utf-8"))) for entry in files
    }


def _lexicon(table: dict[str, Any]) -> Lexicon:
    known = {field.name for field in fields(Lexicon)}
    if unknown := set(table) - known:
        raise ValueError(f"unknown lists in a language file: {sorted(unknown)}")
    return Lexicon(**{name: _frozen(name, value) for name, value in table.items()})


def _frozen(name: str, value: Any) -> Any:
    if name in _SETS:
        return frozenset(value)
    if isinstance(value, dict):
        return tuple(value.items())
    if isinstance(value, list):
        return tuple(tuple(entry) if isinstance(entry, list) else entry for entry in _unique(value))
    return value


def _unique(values: Iterable[Any]) -> list[Any]:
    return list({str(value): value for value in values}.values())
