"""Turns sentences into comparable vectors: hashed, weighted terms, the same on every machine and in every
run."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from listener.text.words import is_ideograph, words

Matrix = NDArray[np.float32]

DIMENSIONS = 4096
_STEM_LETTERS = 6
_LONGEST_LETTERS = 24  # of a word, as much as its stem can depend on
_STOP_SHARE = 0.4  # a term in more sentences than this says nothing
_STOP_FROM_SENTENCES = 10
_ARABIC_ARTICLE = re.compile("^[\u0648\u0641]?(?:\u0628|\u0643)?\u0627\u0644(?=\\w{3})")


def terms(sentence: str) -> list[str]:
    """What a sentence is compared by: word stems in small letters, pairs of neighbouring ideographs."""
    return terms_of(words(sentence))


def terms_of(found_words: Sequence[str]) -> list[str]:
    """The same of the words of a sentence."""
    stems = [_stem(word if len(word) < _LONGEST_LETTERS else word[:_LONGEST_LETTERS]) for word in found_words]
    if all(stems):
        return stems
    found: list[str] = []
    before = ""
    for word, stem in zip(found_words, stems, strict=True):
        if stem:
            found.append(stem)
        elif before:
            found.append(before + word)
        before = "" if stem else word
    return found


@lru_cache(maxsize=50_000)
def _stem(word: str) -> str:
    """Nothing for an ideograph."""
    if is_ideograph(word):
        return ""
    return _ARABIC_ARTICLE.sub("", word.casefold())[:_STEM_LETTERS]


def sentence_vectors(sentences: Sequence[Sequence[str]], times: Sequence[int] | None = None) -> Matrix:
    """One unit row per sentence (given as its terms), weighted by how rare a term is among these
    sentences, each of which counts as often as `times` says. A column for each dimension that is used.

    Dense, for a window of some hundred sentences; `nearest()` takes any number."""
    entries = _entries(sentences, times)
    used, columns = np.unique(entries.dimensions, return_inverse=True)
    matrix = np.zeros((len(sentences), len(used)), dtype=np.float32)
    np.add.at(matrix, (entries.rows, columns), entries.values)
    return _unit_rows(matrix)


def nearest(sentences: Sequence[Sequence[str]], parts: Sequence[Sequence[str]]) -> list[int]:
    """For each sentence the part, one of a few, that it is most alike; in time and memory that grow with the
    terms."""
    entries = _entries([*parts, *sentences])
    of_parts = entries.rows < len(parts)
    dense = np.zeros((len(parts), DIMENSIONS), dtype=np.float32)
    np.add.at(dense, (entries.rows[of_parts], entries.dimensions[of_parts]), entries.values[of_parts])
    rows, dimensions = entries.rows[~of_parts] - len(parts), entries.dimensions[~of_parts]
    values = entries.values[~of_parts]
    # Of each row only the direction matters, so that it need not be brought to length one.
    alike = [
        np.bincount(rows, values * part[dimensions], minlength=len(sentences)) for part in _unit_rows(dense)
    ]
    return [int(part) for part in np.argmax(alike, axis=0)] if alike else []


def similarity(matrix: Matrix) -> Matrix:
    """The cosine of each pair of rows, 0 on the diagonal. Grows with their square: for a window of rows."""
    cosines: Matrix = matrix @ matrix.T
    np.fill_diagonal(cosines, 0.0)
    return cosines


def content_terms(sentences: Iterable[Sequence[str]]) -> set[str]:
    """The terms that are not in too many of the sentences to mean anything."""
    counted = _counted(list(sentences))
    return {term for term, weight in zip(counted.terms, counted.weights, strict=True) if weight > 0}


@dataclass(frozen=True, slots=True)
class _Counted:
    """Which term (its place in `terms`) stands in which row, and how often; and what each is worth."""

    terms: Sequence[str]
    weights: NDArray[np.float64]
    rows: NDArray[np.intp]
    places: NDArray[np.intp]
    counts: NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class _Entries:
    """What is not zero in the vectors."""

    rows: NDArray[np.intp]
    dimensions: NDArray[np.intp]
    values: NDArray[np.float32]


def _counted(sentences: Sequence[Sequence[str]], times: Sequence[int] | None = None) -> _Counted:
    place = {term: at for at, term in enumerate(dict.fromkeys(chain.from_iterable(sentences)))}
    rows = np.repeat(np.arange(len(sentences)), [len(sentence) for sentence in sentences])
    places = np.fromiter((place[term] for term in chain.from_iterable(sentences)), np.intp, len(rows))
    pairs, counts = np.unique(rows * max(1, len(place)) + places, return_counts=True)
    rows, places = np.divmod(pairs, max(1, len(place)))
    often = np.array(times if times is not None else [1] * len(sentences), dtype=np.float64)
    seen, count = np.bincount(places, often[rows], minlength=len(place)), float(often.sum())
    common = count * _STOP_SHARE if count > _STOP_FROM_SENTENCES else count + 1
    weights = np.where(seen > common, 0.0, np.log(1 + count / np.maximum(1, seen)))
    return _Counted(list(place), weights, rows, places, counts)


def _entries(sentences: Sequence[Sequence[str]], times: Sequence[int] | None = None) -> _Entries:
    counted = _counted(sentences, times)
    dimensions = np.array([_dimension(term) for term in counted.terms], dtype=np.intp)
    values = np.sqrt(counted.counts) * counted.weights[counted.places]
    used = values > 0
    return _Entries(counted.rows[used], dimensions[counted.places[used]], values[used].astype(np.float32))


def _unit_rows(matrix: Matrix) -> Matrix:
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    return np.asarray(
        np.divide(matrix, lengths, out=np.zeros_like(matrix), where=lengths > 0), dtype=np.float32
    )


@lru_cache(maxsize=200_000)
def _dimension(term: str) -> int:
    return int.from_bytes(blake2b(term.encode("utf-8", "surrogatepass"), digest_size=4).digest()) % DIMENSIONS
