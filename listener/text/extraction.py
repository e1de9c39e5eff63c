"""Summarises by copying: the sentences of a text that say the most, in their order, and a title for them."""

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace

from listener.text.blocks import Block, plain_text, split_blocks
from listener.text.language import detect_language
from listener.text.lexicon import patterns
from listener.text.linear import SPACE, Expression
from listener.text.ranking import Sentence, choose, rank
from listener.text.sentences import cut_paragraph, join_sentences
from listener.text.words import count_words, is_ideograph

_TITLE_WORDS = 20
_PARAGRAPH_LETTERS = 240
_BOILERPLATE_WORDS = 25
_BOILERPLATE_LETTERS = 160
_HEADING_LETTERS = 300  # of a longer one this much is compared with its sentences
_ENDS = set(".!?\u2026:;\u3002\uff01\uff1f\u061f\u06d4\u0964\u0965")
_AFTER_END = "'\"\u201d\u2019\u00bb\u300d)*_]"
_CLAUSE_END = re.compile("[,;:\uff0c\uff1b\u3001\u060c\u2013\u2014]")
_LINK = Expression(rf'!?\[([^\]\n]*)\]\([^){SPACE}]*(?:[{SPACE}]"[^"]*")?\)')
# One character or two: nothing to walk over.
_EMPHASIS_MARK = re.compile(r"[*_]")
_EMPHASIS_BARRIER = re.compile(r"[`\n]")


@dataclass(frozen=True, slots=True)
class Extract:
    """Sentences of the source in its order, grouped into paragraphs where the source changes its section."""

    title: str
    paragraphs: tuple[tuple[str, ...], ...]
    words: int

    @property
    def sentences(self) -> tuple[str, ...]:
        return tuple(sentence for paragraph in self.paragraphs for sentence in paragraph)


def extract(text: str, *, target_words: int, title: str = "") -> Extract:
    """The best sentences of a text in about `target_words` words; all of a text that is shorter than that."""
    blocks = split_blocks(text)
    title = title or _own_title(blocks)
    language = detect_language(text) or "en"
    candidates = _candidates(blocks, language)
    ranked = rank(candidates, title=title, language=language)
    kept = [ranked.sentences[index] for index in choose(ranked, target_words)]
    return Extract(title or _short_title(kept), _paragraphs(kept), sum(sentence.words for sentence in kept))


def best_sentences(text: str, *, words: int, title: str = "") -> list[str]:
    """The most telling sentences of a text, in its order, in about that many words."""
    return list(extract(text, target_words=words, title=title).sentences)


def running_text(found: Extract) -> str:
    """The extract as prose, one paragraph for each section it draws on."""
    return "\n\n".join(join_sentences(list(paragraph)) for paragraph in found.paragraphs)


def _candidates(blocks: Sequence[Block], language: str) -> list[Sentence]:
    found: list[Sentence] = []
    section, heading = 0, ""
    for index, block in enumerate(blocks):
        if block.kind == "heading":
            heading, section = plain_text(block)[:_HEADING_LETTERS], section + bool(found)
        elif block.kind in ("paragraph", "item", "quote"):
            for piece in cut_paragraph(_readable(plain_text(block)), language):
                sentence = _sentence(_ended(piece), index, section, heading)
                found += [] if _is_boilerplate(sentence) else [sentence]
    return _shared(found)


def _sentence(text: str, block: int, section: int, heading: str) -> Sentence:
    return Sentence(text, block, section, heading, count_words(text), section)


def _shared(found: list[Sentence]) -> list[Sentence]:
    """A text without sections is served in thirds, so that its end is heard as well as its beginning."""
    if len({sentence.section for sentence in found}) != 1:
        return found
    blocks = list(dict.fromkeys(sentence.block for sentence in found))
    share = {block: position * 3 // len(blocks) for position, block in enumerate(blocks)}
    return [replace(sentence, share=share[sentence.block]) for sentence in found]


def _is_boilerplate(sentence: Sentence) -> bool:
    if not any(map(str.isalpha, sentence.text)):
        return True
    if sentence.words > _BOILERPLATE_WORDS or len(sentence.text) >= _BOILERPLATE_LETTERS:
        return False
    return patterns("boilerplate").search(sentence.text) is not None


def _readable(text: str) -> str:
    """Prose without Markdown's marks: a link is its words, an emphasised word is the word."""
    return _unemphasised(_LINK.sub(lambda link: str(link[1]), text) if "](" in text else text)


def _unemphasised(text: str) -> str:
    """Without the marks around emphasised words: two of a kind, on one line and with no code between, that
    touch what they enclose and are no part of a word.

    Not an expression: RE2 knows no back reference, and `re` would look for the second mark to the end of the
    text for each that might be a first."""
    if "*" not in text and "_" not in text:
        return text
    closing = _closing_marks(text)
    barriers = [found.start() for found in _EMPHASIS_BARRIER.finditer(text)]
    kept, position = list[str](), 0
    for place in (found.start() for found in _EMPHASIS_MARK.finditer(text)):
        if place < position or (place and _is_word(text[place - 1])):
            continue
        if span := _emphasised(text, place, closing, barriers):
            mark, end = span
            kept += text[position:place], text[place + len(mark) : end]
            position = end + len(mark)
    return "".join([*kept, text[position:]])


def _closing_marks(text: str) -> dict[str, list[int]]:
    """Where each mark could close: after what is no blank, before what belongs to no word."""
    found: dict[str, list[int]] = {"**": [], "__": [], "*": [], "_": []}
    for mark, places in found.items():
        place = text.find(mark)
        while place >= 0:
            after = text[place + len(mark) : place + len(mark) + 1]
            if place and not text[place - 1].isspace() and not _is_word(after):
                places.append(place)
            place = text.find(mark, place + 1)
    return found


def _emphasised(
    text: str, place: int, closing: dict[str, list[int]], barriers: list[int]
) -> tuple[str, int] | None:
    """The mark that opens here, and where it closes."""
    for mark in (text[place : place + 2], text[place]):
        begins = place + len(mark)
        if mark not in closing or text[begins : begins + 1].isspace() or begins >= len(text):
            continue
        next_one = bisect_left(closing[mark], begins + 1)
        wall = bisect_left(barriers, begins)
        limit = barriers[wall] if wall < len(barriers) else len(text)
        if next_one < len(closing[mark]) and closing[mark][next_one] <= limit:
            return mark, closing[mark][next_one]
    return None


def _is_word(letter: str) -> bool:
    return letter.isalnum() or letter == "_"


def _ended(sentence: str) -> str:
    """With an end mark, which list items often lack."""
    if sentence.rstrip(_AFTER_END)[-1:] in _ENDS:
        return sentence
    return sentence.rstrip(",\uff0c\u060c") + ("\u3002" if is_ideograph(sentence[-1]) else ".")


def _paragraphs(kept: Sequence[Sentence]) -> tuple[tuple[str, ...], ...]:
    """A new paragraph where the section changes, unless the one before or the rest is only a line or two."""
    groups: list[list[Sentence]] = []
    for index, sentence in enumerate(kept):
        changes = not groups or sentence.section != groups[-1][-1].section
        long_enough = not groups or _length(groups[-1]) >= _PARAGRAPH_LETTERS <= _length(kept[index:])
        if changes and long_enough:
            groups.append([])
        groups[-1].append(sentence)
    return tuple(tuple(sentence.text for sentence in group) for group in groups)


def _length(sentences: Sequence[Sentence]) -> int:
    return sum(len(sentence.text) for sentence in sentences)


def _own_title(blocks: Sequence[Block]) -> str:
    headings = [block for block in blocks[:8] if block.kind == "heading"]
    return plain_text(min(headings, key=lambda block: block.level)) if headings else ""


def _short_title(kept: Sequence[Sentence]) -> str:
    """The first chosen sentence if it is short, else its first clause, else the shortest chosen sentence."""
    if not kept:
        return ""
    first, shortest = kept[0], min(kept, key=lambda sentence: sentence.words)
    limit = _TITLE_WORDS * 2 if is_ideograph(first.text[0]) else _TITLE_WORDS
    clause = _CLAUSE_END.split(first.text, maxsplit=1)[0]
    options = [option for option in (first.text, clause, shortest.text) if 4 <= count_words(option) <= limit]
    return (options or [clause])[0].rstrip(".\u3002\u0964 ")
