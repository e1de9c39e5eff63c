"""Says a sentence in fewer words by rule: fillers, redundant openers, asides. Never touches figures,
negations, names, quotes, code or links; a sentence where a rule would is left as it was."""

import re
from collections import Counter
from functools import cache
from typing import Any

from listener.text.lexicon import lexicon, word_pattern
from listener.text.linear import SPACE, Expression

_LONGEST_LETTERS = 2_000  # a longer one is no sentence, and stays: this bounds what the rules cost
# Verbatim: code, links, addresses, quotations.
_VERBATIM = Expression(
    rf"(`[^`]*`|!?\[[^\]\n]*\]\([^)\n]*\)|https?://[^{SPACE}]+|[^{SPACE}]+@[^{SPACE}]+"
    "|\u201c[^\u201d]*\u201d|\u201e[^\u201c\u201d]*[\u201c\u201d]"
    '|\u00ab[^\u00bb]*\u00bb|\u300c[^\u300d]*\u300d|"[^"]*")'
)
_MAY_BE_VERBATIM = re.compile('[`@"\u201c\u201e\u00ab\u300c\\[]|://')
_ASIDE = Expression(rf"[{SPACE}]*(?:\(([^()]*)\)|" "\uff08([^\uff08\uff09]*)\uff09)")
_FIGURE = re.compile(r"\d+")
_ACRONYM = re.compile(r"\b[^\W\d_a-z]{2,}\b")
_KEEPS_INTENSITY = re.compile(
    r"(?:\b(?:so|zu|wie|as|too|how|that|thank you|danke|tan|si|aussi|trop)|n['\u2019]t|[-\u2013\u2014])\s*$",
    re.IGNORECASE,
)
_NEEDS_INTENSITY = re.compile(
    r"\s*(?:much|well|few|little|many|same|gut|viel|wenig|beaucoup|bien|peu|poco|[^\w\s])", re.IGNORECASE
)
# Words that would have to change before a vowel: "de tr\u00e8s anciens" is not "de anciens".
_ELIDES = re.compile(r"\b(?:de|que|le|la|ne|je|se|ce|me|te|y|o)\s*$", re.IGNORECASE)
_VOWEL = re.compile(r"\s*h?[aeiou\u00e0-\u00e6\u00e8-\u00ef\u00f2-\u00f6\u00f9-\u00fc\u0153]", re.IGNORECASE)
_REMOVED = "\x00"
_SENTENCE_START = re.compile(r"(?:^|[.!?:\u2026])\s*$")
_ARTICLE = re.compile(rf"\b([Aa])n? *{_REMOVED} *(\w+)")
_AN_BEFORE = re.compile(
    r"(?!eu|one\b|once\b|uni(?!n|m)|us[aeiu]|ut[ei])[aeiou]|hour|honest|heir|honou?r", re.IGNORECASE
)


def tighten(sentence: str, language: str | None) -> str:
    """The sentence with fewer words, or as it was."""
    if not lexicon(language).fillers or len(sentence) > _LONGEST_LETTERS:
        return sentence
    parts = _verbatim_apart(sentence)
    parts[::2] = [_tighten_part(part, language) for part in parts[::2]]
    shorter = _tidy(_drop_opener("".join(parts), language))
    return shorter if _says_the_same(sentence, shorter, language) else sentence


def _verbatim_apart(sentence: str) -> list[str]:
    """The sentence in parts, each second one of which stays as it is."""
    parts, position = list[str](), 0
    if _MAY_BE_VERBATIM.search(sentence):
        for match in _VERBATIM.finditer(sentence):
            parts += sentence[position : match.start()], match[0]
            position = match.end()
    return [*parts, sentence[position:]]


def _tighten_part(part: str, language: str | None) -> str:
    if "(" in part or "\uff08" in part:
        part = _ASIDE.sub(lambda aside: _keep_aside(aside, language), part)
    part = _filler_pattern(language).sub(lambda filler: _replace_filler(filler[0], language), part)
    return _drop_dispensable(part, language)


def _keep_aside(aside: Any, language: str | None) -> str:
    words = lexicon(language)
    inner = aside[1] or aside[2] or ""
    holds = _FIGURE.search(inner) or _ACRONYM.search(inner) or word_pattern(words.negations).search(inner)
    return aside[0] if holds or len(inner.split()) < 2 else ""


@cache
def _filler_pattern(language: str | None) -> re.Pattern[str]:
    return word_pattern(tuple(phrase for phrase, _ in lexicon(language).fillers))


@cache
def _replacements(language: str | None) -> dict[str, str]:
    return dict(lexicon(language).fillers)


def _replace_filler(phrase: str, language: str | None) -> str:
    shorter = _replacements(language).get(phrase.lower(), phrase)
    return shorter[:1].upper() + shorter[1:] if phrase[0].isupper() else shorter


def _drop_opener(sentence: str, language: str | None) -> str:
    """The sentence without an opener that says nothing, such as "It should be noted that" (en)."""
    opener = _opener_pattern(language).match(sentence)
    if not opener:
        return sentence
    rest = sentence[opener.end() :]
    return opener[1] + rest[:1].upper() + rest[1:]


@cache
def _opener_pattern(language: str | None) -> re.Pattern[str]:
    openers = sorted(lexicon(language).openers, key=len, reverse=True)
    return re.compile(r"(\W*)(?:" + ("|".join(openers) or "(?!)") + r")\s+(?=\w)", re.IGNORECASE)


def _drop_dispensable(part: str, language: str | None) -> str:
    return _dispensable_pattern(language).sub(lambda word: _keep_dispensable(word, language), part)


@cache
def _dispensable_pattern(language: str | None) -> re.Pattern[str]:
    return re.compile(
        rf"(?P<lead>, *)?(?P<word>{word_pattern(lexicon(language).dispensable).pattern})(?P<trail>,? *)", re.I
    )


def _keep_dispensable(word: re.Match[str], language: str | None) -> str:
    """What is left of a word such as "very" where it stands."""
    before = word.string[max(0, word.start() - 30) : word.start()]
    last = [] if _SENTENCE_START.search(before) else before.split()[-1:]
    if word_pattern(lexicon(language).negations).search(" ".join(last)) or _KEEPS_INTENSITY.search(before):
        return word[0]
    after = word.end()
    if _NEEDS_INTENSITY.match(word.string, after):
        return word[0]
    if _ELIDES.search(before) and _VOWEL.match(word.string, after):
        return word[0]
    commas = bool(word["lead"]), "," in word["trail"]
    if commas == (True, True):
        return " "
    if commas == (False, False) and last:
        return _REMOVED
    return word[0]


def _tidy(sentence: str) -> str:
    sentence = _ARTICLE.sub(_fit_article, sentence).replace(_REMOVED, "")
    sentence = re.sub(r"(?<=\S)[ \t]{2,}+(?=\S)", " ", sentence)
    return re.sub(r"(?<![ \t])[ \t]++([,.;:!?](?:\s|$))", r"\1", sentence)


def _fit_article(found: re.Match[str]) -> str:
    return found[1] + ("n " if _AN_BEFORE.match(found[2]) else " ") + found[2]


def _says_the_same(before: str, after: str, language: str | None) -> bool:
    negation = word_pattern(lexicon(language).negations)
    return (
        _FIGURE.findall(before) == _FIGURE.findall(after)
        and Counter(map(str.lower, negation.findall(before)))
        == Counter(map(str.lower, negation.findall(after)))
        and bool(after.strip())
    )
