"""Notices a text that repeats itself: a model caught in a loop, or the same sentence said twice."""

import zlib
from collections import Counter
from collections.abc import Sequence

from listener.text.sentences import split_sentences
from listener.text.vectors import terms
from listener.text.words import words

_LOOP_ZLIB_RATIO = 4.0
_LOOP_CHARACTERS = 4_000
_LOOP_FROM_CHARACTERS = 600  # a short text of few different words compresses well without looping
_COPIED_CHARACTERS = 240
_NGRAM = 8
_NGRAM_TIMES = 5


def looping(text: str, *, source: str = "") -> bool:
    """Whether the end of a growing text has gone into a loop, so that waiting for more is wasted.

    A text that repeats what its source repeats, such as a table, only copies."""
    tail = text[-_LOOP_CHARACTERS:]
    if len(tail) < _LOOP_FROM_CHARACTERS:
        return False
    loops = compression(tail) > _LOOP_ZLIB_RATIO or _most_repeated(tail) >= _NGRAM_TIMES
    return loops and tail[-_COPIED_CHARACTERS:].strip() not in source


def compression(text: str) -> float:
    """How many times smaller zlib makes the text; prose of any script stays under about 3."""
    raw = text.encode("utf-8", "replace")
    return len(raw) / max(1, len(zlib.compress(raw, 6)))


def repeated_sentences(text: str) -> list[str]:
    """Sentences of more than three words that stand in the text more than once."""
    sentences = split_sentences(text)
    return repeated(sentences, [terms(sentence) for sentence in sentences])


def repeated(sentences: Sequence[str], by_terms: Sequence[Sequence[str]]) -> list[str]:
    """Those of the sentences, given with their terms, that are said a second time; each once."""
    seen: Counter[tuple[str, ...]] = Counter()
    twice: list[str] = []
    for sentence, said in zip(sentences, map(tuple, by_terms), strict=True):
        seen[said] += 1
        if len(said) > 3 and seen[said] == 2:
            twice.append(sentence)
    return twice


def _most_repeated(text: str) -> int:
    """How often the most frequent run of a few words occurs."""
    found = words(text.casefold())
    runs = Counter(tuple(found[at : at + _NGRAM]) for at in range(len(found) - _NGRAM + 1))
    return max(runs.values(), default=0)
