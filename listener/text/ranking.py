"""Scores the sentences of a document by how much of the rest they stand for, and picks the best under a word
budget.

Centrality is directed, as in PacSum: a sentence gains more from similar ones after it than before it. The
choice is greedy for relevance against repetition (MMR) with a share for every section. Deterministic."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from listener.text.lexicon import lexicon, word_pattern
from listener.text.vectors import Matrix, sentence_vectors, similarity, terms
from listener.text.words import is_ideograph

Scores = NDArray[np.float64]

WINDOW_FROM_SENTENCES = (
    1500  # beyond that, the best of windows compete: the similarity of all pairs grows with n^2
)
_WINDOW = 400
_EDGE_SHARE = 0.1
_FORWARD = 1.0
_BACKWARD_LEAD, _BACKWARD = (
    -0.2,
    0.7,
)  # a short text without sections says the main thing first; others do not
_LEAD_SENTENCES = 60
_RELEVANCE = 0.7
_SAME = 0.9
_CROWD = 0.4  # a second sentence of a paragraph must be better than the first of another
_OVERSHOOT = 1.08
_ENOUGH = 0.95
_FIGURE = re.compile(r"\d")
_NAME = re.compile(r"(?<=[\w,] )[A-Z\u00c0-\u00de\u0410-\u042f][\w\u00c0-\u024f]+")
_QUOTE = re.compile('^["\'\u201c\u201e\u00ab\u300c]|["\u201d\u00bb\u300d]$')
_MARKS = re.compile(r"[`_/\\={}<>|;#*+\[\]]")
_SEE = re.compile(r"\b(?:see|siehe|voir|v\u00e9ase|bkz|\u0441\u043c)\b.{0,25}$", re.IGNORECASE)
_SEE_LETTERS = 40  # from the end
_URL = re.compile(r"https?://\S", re.IGNORECASE)
_NO_WORD = re.compile(r"\W*+")
_TITLE_LETTERS = 300  # of a longer one this much is compared with the sentences


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence where it stands: `block` and `section` count from 0; `heading` is that of its section.

    `share` is the part of the text whose share of the budget it uses: its section, or a third of a text
    without."""

    text: str
    block: int
    section: int
    heading: str = ""
    words: int = 0
    share: int = 0


@dataclass(frozen=True, slots=True)
class Ranked:
    """Scores of sentences, highest is best, with their pairwise similarity."""

    sentences: Sequence[Sentence]
    scores: Scores
    similar: Matrix
    leaning: tuple[bool, ...]  # begins with a word that points back to the sentence before


def rank(sentences: Sequence[Sentence], *, title: str = "", language: str | None = None) -> Ranked:
    """Scores for at most `WINDOW_FROM_SENTENCES` sentences; of more, the best of each window are kept and
    ranked."""
    if len(sentences) > WINDOW_FROM_SENTENCES:
        sentences = _best_of_windows(sentences, title, language)
    tokens = [terms(sentence.text) for sentence in sentences]
    matrix, of_headings = _vectors(tokens, [f"{title[:_TITLE_LETTERS]} {one.heading}" for one in sentences])
    similar = similarity(matrix)
    leaning = _leaning(sentences, language)
    scores = _centrality(sentences, similar) + 0.3 * (matrix * of_headings).sum(axis=1) + _bonuses(sentences)
    return Ranked(sentences, scores * _form(sentences) * np.where(leaning, 0.8, 1.0), similar, leaning)


def _vectors(tokens: Sequence[Sequence[str]], headings: Sequence[str]) -> tuple[Matrix, Matrix]:
    """Of the sentences, and of what stands above each; a heading is looked at once for all its sentences."""
    often = Counter(headings)
    place = {heading: len(tokens) + at for at, heading in enumerate(often)}
    matrix = sentence_vectors([*tokens, *map(terms, often)], [*[1] * len(tokens), *often.values()])
    return matrix[: len(tokens)], matrix[[place[heading] for heading in headings]]


def choose(ranked: Ranked, budget: int) -> list[int]:
    """Indices, in source order, of the sentences that say the most in about `budget` words."""
    choice = _Choice(ranked, budget)
    while choice.spent < budget * _ENOUGH:
        best = choice.best(budget * _OVERSHOOT - choice.spent)
        if best is None:
            break
        for index in _with_predecessor(ranked, best, choice.chosen, budget * _OVERSHOOT - choice.spent):
            choice.take(index)
    return sorted(choice.chosen or _least_too_long(ranked))


class _Choice:
    """What is chosen so far, and what each of the others is worth beside it."""

    def __init__(self, ranked: Ranked, budget: int) -> None:
        sentences, count = ranked.sentences, len(ranked.sentences)
        quota = _quotas(sentences, budget)
        self.chosen: set[int] = set()
        self.spent = 0
        self._ranked = ranked
        self._words = np.array([sentence.words for sentence in sentences], dtype=np.int64)
        self._shares, self._share = _numbered([sentence.share for sentence in sentences])
        self._blocks, self._block = _numbered([sentence.block for sentence in sentences])
        self._quota = np.array([quota[share] for share in self._shares], dtype=np.float64)
        self._used = np.zeros(len(self._shares))
        self._crowd = np.zeros(len(self._blocks))
        self._repeated = np.zeros(count, dtype=np.float32)
        self._taken = np.zeros(count, dtype=bool)
        self._follows = np.zeros(count, dtype=bool)
        self._room = _room_factor(sentences, sum(quota.values()))

    def best(self, room: float) -> int | None:
        """The first of the best that fits into the words that are left."""
        values = np.where(self._words <= room, self._values(), -np.inf)
        index = int(values.argmax()) if len(values) else 0
        return index if len(values) and np.isfinite(values[index]) else None

    def take(self, index: int) -> None:
        self.chosen.add(index)
        self.spent += int(self._words[index])
        self._taken[index] = True
        self._used[self._share[index]] += self._words[index]
        self._crowd[self._block[index]] += 1
        similar = self._ranked.similar[:, index]
        self._repeated = np.maximum(self._repeated, similar) if len(self.chosen) > 1 else similar.copy()
        # A sentence that points back reads well once its predecessor is there.
        if index + 1 < len(self._taken):
            self._follows[index + 1] = self._ranked.leaning[index + 1]

    def _values(self) -> Scores:
        values = _RELEVANCE * self._ranked.scores
        if self.chosen:
            values = values - (1 - _RELEVANCE) * self._repeated
            values[(self._repeated > _SAME) | self._taken] = -np.inf
        load = np.minimum(2.0, (self._used / self._quota)[self._share]) + _CROWD * self._crowd[self._block]
        return np.asarray(values * self._room - 0.15 * load + 0.1 * self._follows, dtype=np.float64)


def _numbered(names: Sequence[int]) -> tuple[list[int], NDArray[np.intp]]:
    """Each name once, and for each place the number of its name."""
    places = {name: place for place, name in enumerate(dict.fromkeys(names))}
    return list(places), np.array([places[name] for name in names], dtype=np.intp)


def _centrality(sentences: Sequence[Sentence], similar: Matrix) -> Scores:
    edges = np.where(similar < _EDGE_SHARE * similar.max(initial=0.0), 0.0, similar)
    lead = len(sentences) <= _LEAD_SENTENCES and len({sentence.section for sentence in sentences}) == 1
    later, earlier = np.triu(edges).sum(axis=1), np.tril(edges).sum(axis=1)
    sums = _FORWARD * later + (_BACKWARD_LEAD if lead else _BACKWARD) * earlier
    spread = float(sums.max(initial=0.0) - min(0.0, float(sums.min(initial=0.0))))
    return np.asarray((sums - min(0.0, float(sums.min(initial=0.0)))) / (spread or 1.0), dtype=np.float64)


def _bonuses(sentences: Sequence[Sentence]) -> Scores:
    """For the first sentence of the text and of each section, for figures, for names."""
    sections, blocks = set[int](), set[int]()
    found = np.zeros(len(sentences))
    for index, sentence in enumerate(sentences):
        found[index] += 0.25 * (index == 0) + 0.12 * (sentence.section not in sections)
        found[index] += 0.05 * (sentence.block not in blocks)
        found[index] += 0.06 * bool(_FIGURE.search(sentence.text)) + 0.06 * bool(_NAME.search(sentence.text))
        sections.add(sentence.section)
        blocks.add(sentence.block)
    return found


def _form(sentences: Sequence[Sentence]) -> Scores:
    return np.array([_form_of(sentence) for sentence in sentences])


def _form_of(sentence: Sentence) -> float:
    """How fit a sentence is to stand in a summary by its form alone, from 0 to 1."""
    text = sentence.text.rstrip()
    factor = _length_factor(sentence)
    if text.endswith(("?", "\uff1f", "\u061f")):
        factor *= 0.5
    if text.endswith((":", "\uff1a")):
        factor *= 0.3
    if _QUOTE.search(text):
        factor *= 0.7
    if _points_elsewhere(text):
        factor *= 0.6
    if text.startswith("(") or text[:1].islower():
        factor *= 0.6
    return factor * _prose_factor(text)


def _points_elsewhere(text: str) -> bool:
    """Whether the end refers to another place: "see below", a link."""
    last = (text.rsplit(None, 1) or [""])[-1]
    link = last.find("](")
    return (
        _SEE.search(text, max(0, len(text) - _SEE_LETTERS)) is not None
        or _URL.search(last) is not None
        or (0 <= link < len(last) - 3 and last.endswith(")"))
    )


def _length_factor(sentence: Sentence) -> float:
    """Sentences of ordinary length count in full; ideographs are about half a word each."""
    length = sentence.words // 2 if is_ideograph(sentence.text) else sentence.words
    if length < 5:
        return 0.3
    if length < 7:
        return 0.65
    return 1.0 if length <= 40 else 0.8 if length <= 55 else 0.5


def _prose_factor(text: str) -> float:
    """Less for what is mostly code, paths, formulas and lists of names."""
    marks = len(_MARKS.findall(text)) / max(1, len(text))
    return 1.0 if marks < 0.03 else 0.8 if marks < 0.07 else 0.5


def _leaning(sentences: Sequence[Sentence], language: str | None) -> tuple[bool, ...]:
    """Whether the first word of each points back to the sentence before."""
    openers = word_pattern(lexicon(language).anaphora)
    texts = [sentence.text for sentence in sentences]
    begins = [found.end() if (found := _NO_WORD.match(text)) else 0 for text in texts]
    return tuple(openers.match(text, at) is not None for text, at in zip(texts, begins, strict=True))


def _quotas(sentences: Sequence[Sentence], budget: int) -> dict[int, float]:
    """Words for each section: by the root of its length, so that short sections are heard too."""
    lengths: Counter[int] = Counter()
    for sentence in sentences:
        lengths[sentence.share] += sentence.words
    roots = {section: length**0.5 for section, length in lengths.items()}
    total = sum(roots.values()) or 1.0
    return {section: max(1.0, budget * root / total) for section, root in roots.items()}


def _room_factor(sentences: Sequence[Sentence], budget: float) -> Scores:
    """Less for a sentence that would take more than two fifths of the whole budget."""
    lengths = np.array([max(1, sentence.words) for sentence in sentences])
    return np.asarray(np.minimum(1.0, np.sqrt(0.4 * budget / lengths)), dtype=np.float64)


def _with_predecessor(ranked: Ranked, index: int, chosen: set[int], room: float) -> list[int]:
    """The sentence, and the one before it if it points back to that one and both fit."""
    before = index - 1
    if not ranked.leaning[index] or before < 0 or before in chosen:
        return [index]
    first, second = ranked.sentences[before], ranked.sentences[index]
    together = first.block == second.block and first.words + second.words <= room
    return [before, index] if together else [index]


def _least_too_long(ranked: Ranked) -> list[int]:
    """Where every sentence exceeds the budget: the best for its length."""
    if not ranked.sentences:
        return []
    lengths = np.array([max(1, sentence.words) for sentence in ranked.sentences])
    return [int(np.argmax((ranked.scores + 0.1) / lengths))]


def _best_of_windows(sentences: Sequence[Sentence], title: str, language: str | None) -> list[Sentence]:
    windows = [sentences[at : at + _WINDOW] for at in range(0, len(sentences), _WINDOW)]
    share = max(1, WINDOW_FROM_SENTENCES // len(windows))
    best: list[Sentence] = []
    for window in windows:
        scores = rank(window, title=title, language=language).scores
        top = sorted(np.argsort(-scores, kind="stable")[:share])
        best += [window[index] for index in top]
    return best[:: -(-len(best) // WINDOW_FROM_SENTENCES)]
