"""Turns sentences into comparable vectors: hashed, weighted terms, the same on every machine and in every
run."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from listener.text.words import is_ideograph, words

Matrix = NDArray[np.float32]

DIMENSIONS = 4096
_STEM_LETTERS = 6
_STOP_SHARE = 0.4  # a term in more sentences than this says nothing
_STOP_FROM_SENTENCES = 10
_ARABIC_ARTICLE = re.compile("^[\u0648\u0641]?(?:\u0628|\u0643)?\u0627\u0644(?=\\w{3})")


def terms(sentence: str) -> list[str]:
    """What a sentence is compared by: word stems in small letters, pairs of neighbouring ideographs."""
    found: list[str] = []
    before = ""
    for word in words(sentence):
        if is_ideograph(word):
            if before:
                found.append(before + word)
            before = word
            continue
        before = ""
        found.append(_ARABIC_ARTICLE.sub("", word.casefold())[:_STEM_LETTERS])
    return found


def sentence_vectors(sentences: Sequence[Sequence[str]]) -> Matrix:
    """One unit row per sentence (given as its terms), weighted by how rare a term is among these
    sentences."""
    weights = _term_weights(sentences)
    matrix = np.zeros((len(sentences), DIMENSIONS), dtype=np.float32)
    for row, sentence in enumerate(sentences):
        for term, count in Counter(sentence).items():
            matrix[row, _dimension(term)] += math.sqrt(count) * weights[term]
    return _unit_rows(matrix)


def similarity(matrix: Matrix) -> Matrix:
    """The cosine of each pair of rows, 0 on the diagonal."""
    cosines: Matrix = matrix @ matrix.T
    np.fill_diagonal(cosines, 0.0)
    return cosines


def content_terms(sentences: Iterable[Sequence[str]]) -> set[str]:
    """The terms that are not in too many of the sentences to mean anything."""
    return {term for term, weight in _term_weights(list(sentences)).items() if weight > 0}


def _term_weights(sentences: Sequence[Sequence[str]]) -> dict[str, float]:
    count = len(sentences)
    frequency = Counter(term for sentence in sentences for term in set(sentence))
    common = count * _STOP_SHARE if count > _STOP_FROM_SENTENCES else count + 1
    return {term: 0.0 if seen > common else math.log(1 + count / seen) for term, seen in frequency.items()}


def _unit_rows(matrix: Matrix) -> Matrix:
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    return np.asarray(
        np.divide(matrix, lengths, out=np.zeros_like(matrix), where=lengths > 0), dtype=np.float32
    )


@lru_cache(maxsize=200_000)
def _dimension(term: str) -> int:
    return int.from_bytes(blake2b(term.encode(), digest_size=4).digest()) % DIMENSIONS
