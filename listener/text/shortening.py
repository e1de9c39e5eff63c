"""Shortens a text without a model: fewer words by rule, then without its least telling sentences.

Keeps headings, lists' first sentences, code, links, quotations and the order; stops where a paragraph
would lose more than three fifths, and says how far it came. Sentences are the source's own, in its voice."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations, pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from listener.text.blocks import Block, split_blocks
from listener.text.language import detect_language
from listener.text.lexicon import lexicon, word_pattern
from listener.text.phrasing import tighten
from listener.text.ranking import Scores, Sentence, rank
from listener.text.sentences import cut_paragraph
from listener.text.vectors import terms
from listener.text.words import count_words

Method = Literal["none", "rules", "rules+sentences"]

_HONEST_SHARE = 0.4  # of a paragraph must stay: below that it is a summary
_TOLERANCE = 1.02
_EXHAUSTIVE_SENTENCES = 9
_LENGTH_WEIGHT = 8.0  # a tenth of a paragraph too much is as bad as losing a good sentence
_WINDOW = 400
_QUOTE_MARKS = '"\u201c\u201d\u201e\u00ab\u00bb\u300c'


@dataclass(frozen=True, slots=True)
class Shortened:
    """The shorter text in `pieces` that make it up when put together; `ratio` is what was achieved, in words.

    `limited`: the asked ratio was not reached, since more would have to go than is honest."""

    pieces: tuple[str, ...]
    ratio: float
    method: Method
    limited: bool

    @property
    def text(self) -> str:
        return "".join(self.pieces).strip()


@dataclass(slots=True)
class _Piece:
    """A sentence, or a whole block that is left alone, with the blanks that follow it."""

    text: str
    gap: str
    block: int
    prose: bool
    score: float = 0.0
    words: int = 0
    kept: bool = True


def shorten(text: str, *, ratio: float, language: str | None = None) -> Shortened:
    """The text in about `ratio` of its words (0 to 1)."""
    language = language or detect_language(text) or "en"
    pieces = _pieces(text, language)
    total = max(1, sum(piece.words for piece in pieces))
    target = ratio * total
    tightened = _tighten(pieces, target, language)
    dropped = _drop_repeats(pieces, target) + _drop_weakest(pieces, target, language)
    left = sum(piece.words for piece in pieces if piece.kept) if any(piece.words for piece in pieces) else 1
    method: Method = "rules+sentences" if dropped else "rules" if tightened else "none"
    return Shortened(_assemble(pieces), left / total, method, limited=left > target * 1.1 + 2)


def _pieces(text: str, language: str) -> list[_Piece]:
    found: list[_Piece] = []
    blocks = split_blocks(text)
    for index, block in enumerate(blocks):
        end = blocks[index + 1].start if index + 1 < len(blocks) else len(text)
        found += _block_pieces(block, index, language)
        found[-1].gap = text[block.end : end]
    return found


def _block_pieces(block: Block, index: int, language: str) -> list[_Piece]:
    if block.kind not in ("paragraph", "item"):
        return [_Piece(block.text, "", index, prose=False, words=count_words(block.text))]
    sentences = cut_paragraph(block.text, language)
    spans, position = list[tuple[int, int]](), 0
    for sentence in sentences:
        start = block.text.index(sentence, position)
        position = start + len(sentence)
        spans.append((start, position))
    gaps = [block.text[end:start] for (_, end), (start, _) in pairwise(spans)]
    return [
        _Piece(sentence, gap, index, prose=True, words=count_words(sentence))
        for sentence, gap in zip(sentences, [*gaps, ""], strict=True)
    ]


def _tighten(pieces: Sequence[_Piece], target: float, language: str) -> bool:
    """Fewer words in each sentence, until the target is met; whether anything changed."""
    left, changed = sum(piece.words for piece in pieces), False
    for piece in pieces:
        if left <= target:
            break
        if piece.prose and (shorter := tighten(piece.text, language)) != piece.text:
            piece.text, before, changed = shorter, piece.words, True
            piece.words = count_words(shorter)
            left -= before - piece.words
    return changed


def _drop_repeats(pieces: Sequence[_Piece], target: float) -> int:
    """Sentences that stand in the text already, word for word."""
    if sum(piece.words for piece in pieces) <= target:
        return 0
    seen, dropped = set[tuple[str, ...]](), 0
    for piece in pieces:
        said = tuple(terms(piece.text))
        if piece.prose and piece.words > 3 and said in seen:
            piece.kept, dropped = False, dropped + 1
        seen.add(said)
    return dropped


def _drop_weakest(pieces: list[_Piece], target: float, language: str) -> int:
    # What has no words, such as a line of emoji or a row of dots, has no length to lose: it stays.
    prose = [piece for piece in pieces if piece.prose and piece.kept and piece.words]
    fixed = sum(piece.words for piece in pieces if piece.kept and not piece.prose)
    length = sum(piece.words for piece in prose)
    if fixed + length <= target * _TOLERANCE or not prose:
        return 0
    _score(prose, language)
    share = max(_HONEST_SHARE, (target - fixed) / length)
    dropped, debt = 0, 0.0
    for paragraph in _paragraphs(prose):
        before = sum(piece.words for piece in paragraph)
        dropped += _thin(paragraph, before * share - debt)
        # What one paragraph could not lose, the next ones try to.
        debt += sum(piece.words for piece in paragraph if piece.kept) - before * share
    return dropped


def _thin(paragraph: list[_Piece], goal: float) -> int:
    """Drop sentences of a paragraph to come near to `goal` words; the first one stays."""
    total = sum(piece.words for piece in paragraph)
    least = total * _HONEST_SHARE
    choose = _best_subset if len(paragraph) <= _EXHAUSTIVE_SENTENCES else _weakest_first
    dropped = choose(paragraph[1:], total, max(goal, least))
    for piece in dropped:
        piece.kept = False
    return len(dropped)


def _best_subset(pieces: Sequence[_Piece], total: int, goal: float) -> Sequence[_Piece]:
    """Of all sets of sentences the one that is missed least and leaves nearly `goal` of `total` words."""
    members = _subsets(len(pieces))
    left, missed = np.full(len(members), float(total)), np.zeros(len(members))
    for place, piece in enumerate(pieces):
        left -= members[:, place] * piece.words
        missed += members[:, place] * max(0.05, piece.score)
    costs = missed + _LENGTH_WEIGHT * abs(left - goal) / total
    costs[left < total * _HONEST_SHARE] = math.inf
    best = members[int(costs.argmin())]
    return [piece for piece, member in zip(pieces, best, strict=True) if member]


@cache
def _subsets(count: int) -> NDArray[np.float64]:
    """All subsets of so many things, small ones first, a row each, with a 1 for each member."""
    sizes = range(count + 1)
    chosen = [members for size in sizes for members in combinations(range(count), size)]
    return np.array([[place in members for place in range(count)] for members in chosen], dtype=np.float64)


def _weakest_first(pieces: Sequence[_Piece], total: int, goal: float) -> Sequence[_Piece]:
    left, dropped = total, []
    for piece in sorted(pieces, key=lambda piece: piece.score):
        after = left - piece.words
        if abs(after - goal) < left - goal and after >= total * _HONEST_SHARE:
            dropped.append(piece)
            left = after
    return dropped


def _paragraphs(prose: Sequence[_Piece]) -> list[list[_Piece]]:
    found: dict[int, list[_Piece]] = {}
    for piece in prose:
        found.setdefault(piece.block, []).append(piece)
    return list(found.values())


def _score(prose: Sequence[_Piece], language: str) -> None:
    """How much a sentence would be missed: what it stands for, and what must not be lost."""
    scores, leaning = _ranked(prose, language)
    negations = word_pattern(lexicon(language).negations)
    for piece, score in zip(prose, scores, strict=True):
        figures = any(map(str.isdigit, piece.text))
        quotes = any(mark in piece.text for mark in _QUOTE_MARKS)
        piece.score = float(score) + 0.5 * figures + 0.25 * quotes + 0.35 * bool(negations.search(piece.text))
    for (piece, following), leans in zip(pairwise(prose), leaning[1:], strict=True):
        # What points back to a sentence that is gone reads badly: rather both stay, or the second one goes.
        if leans and piece.block == following.block:
            piece.score += 0.3
            following.score -= 0.15


def _ranked(prose: Sequence[_Piece], language: str) -> tuple[Scores, list[bool]]:
    sentences = [Sentence(piece.text, piece.block, 0, words=piece.words) for piece in prose]
    windows = [
        rank(sentences[at : at + _WINDOW], language=language) for at in range(0, len(sentences), _WINDOW)
    ]
    return np.concatenate([window.scores for window in windows]), [
        x for window in windows for x in window.leaning
    ]


def _assemble(pieces: Sequence[_Piece]) -> tuple[str, ...]:
    """The kept pieces with their gaps; the last of a block takes over the gap after it."""
    found: list[str] = []
    for index, piece in enumerate(pieces):
        block_ends = index + 1 == len(pieces) or pieces[index + 1].block != piece.block
        if piece.kept:
            found.append(piece.text + piece.gap)
        elif block_ends and found:
            found[-1] = found[-1].rstrip() + piece.gap
    return tuple(found)
