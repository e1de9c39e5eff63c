"""Cuts text into sentences in any script, by its end marks and the abbreviations of its language. Keeps
quotes whole."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

from listener.text.blocks import Block, split_blocks
from listener.text.language import detect_language
from listener.text.lexicon import Lexicon, lexicon
from listener.text.words import count_words, has_more_words, is_ideograph

_LONGEST_WORDS = 100  # beyond that it is a text without end marks, such as a transcript
_PIECE_WORDS = 35  # then it comes in pieces of this size at most
_LONGEST_QUOTE_WORDS = 60
_LONGEST_QUOTE_SPANS = 60  # of what may be no words at all
_LOOK_BACK = 60  # letters before an end mark that can matter
_CLOSERS = "'\"\u201d\u2019\u201c\u00bb\u203a)\\]\uff09\u3011\u300d\u300f\u300b*_"
_WIDE_CLOSERS = _CLOSERS.replace("\u201c", "")
_WIDE = "\u3002\uff01\uff1f\uff61"  # end a sentence whatever follows
_STOPS = ".!?\u2026\u203d\u061f\u06d4\u0964\u0965\u0589\u1362\u17d4"
# All that may be an end mark, taken whole: what follows is looked at afterwards, so that no run of stops is
# walked over twice. `re`, since a text is full of stops, and RE2 takes ten times as long for each.
_STOP = re.compile(
    rf"(?P<wide>[{_WIDE}]++[{_WIDE_CLOSERS}]*+)|(?P<stop>[{_STOPS}]++)(?P<close>[{_CLOSERS}]*+(?:\s\u00bb(?=\s))?)"
)
_NEXT = re.compile(
    r"\s++['\"\u201c\u201e\u00ab\u2018(\[\u00bf\u00a1*_\u2013\u2014-]*+\s*+(?P<word>[^\s.,;:!?]*+)(?P<dot>\.?)"
)
_TOKEN_BACKWARDS = re.compile(r"[^\s(\[\"'\u201c\u201e\u00ab/]*+")
_PAIRS = {
    "\u201c": "\u201d",
    "\u00ab": "\u00bb",
    "\u300c": "\u300d",
    "\u300e": "\u300f",
    "(": ")",
    "[": "]",
    "\uff08": "\uff09",
}
_GERMAN_PAIRS = {
    "\u201e": "\u201c\u201d",
    "\u00bb": "\u00ab",
    "(": ")",
    "[": "]",
}  # here the closing mark is the English opening one
# What can open or close a quotation or a bracket; a text is full of them, hence `re`.
_SPECIAL = re.compile('["`\u201c\u201d\u201e\u00ab\u00bb\u300c\u300d\u300e\u300f()\\[\\]\uff08\uff09]')
_COMPLETE = set(".!?\u2026\u203d\u061f\u06d4\u0964\u0965\u0589" + _WIDE)
_AFTER_END = _CLOSERS.replace("\\", "") + "`"
_SAID = re.compile(f"[^\u201c\u300c\u300e{_WIDE}\n]{{1,8}}[{_WIDE}]")
_SOFT_CUTS = (
    re.compile(r"\n"),
    re.compile(r"[;\uff1b\u061b]\s*+"),
    re.compile(r"[,\uff0c\u3001\u060c]\s*+"),
    re.compile(r"\s++"),
)
_NEAR_LETTERS = 64  # around the middle, where a cut is looked for first


def split_sentences(text: str, language: str | None = None) -> list[str]:
    """The sentences in order, stripped; headings, list items, tables and code stay one piece each.

    The language (found out if not given) decides on abbreviations and ordinals."""
    language = language or detect_language(text) or "en"
    return [sentence for block in split_blocks(text) for sentence in sentences_of(block, language)]


def sentences_of(block: Block, language: str) -> list[str]:
    """The sentences of one block; a heading, code, a table and a rule are one piece each."""
    if block.kind in ("heading", "code", "table", "rule"):
        return [block.text]
    return cut_paragraph(block.text, language)


def cut_paragraph(text: str, language: str | None = None) -> list[str]:
    """The sentences of a text that is known to be one paragraph."""
    words = lexicon(language or detect_language(text) or "en")
    spans = list(_cut_at_stops(text, words))
    whole = spans if len(spans) < 2 else _whole_quotes(text, spans)
    return [piece for start, end in whole for piece in _bounded(text[start:end].strip())]


def last_sentence_complete(text: str) -> bool:
    """Whether the text ends where its last sentence does; headings, tables and code are complete as they
    are."""
    blocks = split_blocks(text)
    return bool(blocks) and _is_complete(blocks[-1], blocks[-2] if len(blocks) > 1 else None)


def trim_to_sentence(text: str) -> str:
    """The text up to the end of its last complete sentence; empty if no sentence is complete."""
    text = text.rstrip()
    language = detect_language(text) or "en"
    blocks = split_blocks(text)
    while blocks:
        # Alone, since a line without an end mark is a heading only while something follows it.
        alone = split_blocks(blocks[-1].text)
        block = alone[0] if len(alone) == 1 else blocks[-1]
        before = blocks[-2] if len(blocks) > 1 else None
        if _is_complete(block, before):
            return text[: blocks[-1].end]
        length = _complete_length(block, language)
        if length:
            return text[: blocks[-1].start + length].rstrip()
        blocks.pop()
    return ""


def _complete_length(block: Block, language: str) -> int:
    """How much of a block is left without the sentences at its end that are not complete."""
    starts, position = list[int](), 0
    for sentence in sentences_of(block, language):
        starts.append(block.text.index(sentence, position))
        position = starts[-1] + len(sentence)
    return next((start for start in reversed(starts) if _has_end(block.text, start)), 0)


def _is_complete(block: Block, before: Block | None) -> bool:
    if block.kind in ("code", "table", "rule", "heading"):
        return True
    if block.kind == "item" and before is not None and before.kind == "item":
        return _has_end(block.text) or not _has_end(before.text)
    return _has_end(block.text)


def _has_end(text: str, end: int | None = None) -> bool:
    """Whether the text up to there ends with an end mark, or with what may close after one."""
    end = len(text) if end is None else end
    while end and text[end - 1].isspace():
        end -= 1
    while end and text[end - 1] in _AFTER_END:
        end -= 1
    return text[max(0, end - 1) : end] in _COMPLETE


def join_sentences(sentences: list[str]) -> str:
    """Sentences as running text: with a blank between them, or none after an ideographic end mark."""
    out: list[str] = []
    for sentence in filter(None, sentences):
        last = out[-1][-1] if out else ""
        touching = last and (last in _WIDE or is_ideograph(last)) and not sentence[0].isascii()
        out.append(sentence if not out or touching else " " + sentence)
    return "".join(out)


def _cut_at_stops(text: str, words: Lexicon) -> Iterator[tuple[int, int]]:
    start = 0
    for match in _STOP.finditer(text):
        end = _wide_end(text, match) if match["wide"] else _narrow_end(text, match, start, words)
        if end:
            yield start, end
            start = end
    if text[start:].strip():
        yield start, len(text)


def _wide_end(text: str, match: re.Match[str]) -> int:
    """Where the sentence ends that a wide end mark closes; 0 if it goes on."""
    end = match.end()
    if end == len(text) or text[end] in _WIDE:  # then the last closing mark belongs to what follows
        end -= 1
        if end == match.start() or text[end] in _WIDE:
            return 0
    # What was said and who said it belong together.
    return 0 if text[end - 1] not in _WIDE and _SAID.match(text, end) else end


def _narrow_end(text: str, match: re.Match[str], start: int, words: Lexicon) -> int:
    """The same for an end mark that a blank must follow."""
    end = match.end()
    if not text[end : end + 1].isspace():
        return 0
    before = text[max(start, match.start() - _LOOK_BACK) : match.start()]
    return end if _ends_here(before, match, words) else 0


def _ends_here(before: str, match: re.Match[str], words: Lexicon) -> bool:
    """Whether the end mark that was matched ends the sentence whose last letters are `before`."""
    following = _NEXT.match(match.string, match.end())
    after = following["word"] if following else ""
    if match["stop"] not in (".", "...", "\u2026"):
        # "Stop!" he said: the quoted sentence ends, the sentence goes on.
        return not (after[:1].islower() and match["close"])
    if after[:1].islower():
        return False
    if match["stop"] != ".":
        return True
    token = _TOKEN_BACKWARDS.match(before[::-1])
    initial = bool(following and following["dot"] and len(after) == 1)  # "A. S. Pushkin"
    return _full_stop_ends(token[0][::-1] if token else "", before, "" if initial else after, words)


def _full_stop_ends(token: str, before: str, after: str, words: Lexicon) -> bool:
    low, starter = token.lower(), after.lower() in words.starters
    if before.lower().endswith(tuple(words.endings)) and (
        low in words.endings or "." in token or len(token) == 1
    ):
        return starter or not words.starters or low not in words.endings or "." not in token
    if low in words.abbreviations:
        return False
    if low in words.before_number and after[:1].isdigit():
        return False
    if (
        len(token) == 1 and token.isalpha()
    ):  # an initial, unless a word follows that usually begins a sentence
        return starter
    if "." in token and all(len(part) <= 2 for part in token.split(".")):
        return starter
    if token.isdecimal() and len(token) <= 2:
        return before.strip() != token and (starter or not words.ordinals)
    return True


def _whole_quotes(text: str, spans: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The spans, those inside one quotation or bracket put together, unless it gets too long or never
    closes."""
    marks, index = _marks_of(text, spans), 0
    length = cache(lambda at: count_words(text[slice(*spans[at])]))
    while index < len(spans):
        last = _closing_index(marks, index, length)
        yield spans[index][0], spans[last][1]
        index = last + 1


@dataclass(frozen=True, slots=True)
class _Marks:
    """What opens or closes in a stretch of text: each mark once, in the order of where it stands last."""

    last: str = ""
    open_quote: bool = False  # an odd number of marks that open and close alike
    open_code: bool = False

    def __add__(self, other: "_Marks") -> "_Marks":
        if not other.last:
            return self
        earlier = "".join(mark for mark in self.last if mark not in other.last)
        return _Marks(
            earlier + other.last, self.open_quote ^ other.open_quote, self.open_code ^ other.open_code
        )

    @property
    def open(self) -> bool:
        if self.open_quote or self.open_code:
            return True
        pairs = _GERMAN_PAIRS if "\u201e" in self.last else _PAIRS
        return any(
            self.last.find(opening) > max(self.last.find(letter) for letter in closing)
            for opening, closing in pairs.items()
            if opening in self.last
        )


_NO_MARKS = _Marks()


def _marks_of(text: str, spans: list[tuple[int, int]]) -> list[_Marks]:
    found: list[_Marks] = []
    for start, end in spans:
        marks = "".join(_SPECIAL.findall(text, start, end))
        last = "".join(reversed(dict.fromkeys(reversed(marks))))
        odd = marks.count('"') % 2 == 1, marks.count("`") % 2 == 1
        found.append(_Marks(last, *odd) if marks else _NO_MARKS)
    return found


def _closing_index(marks: list[_Marks], index: int, length: Callable[[int], int]) -> int:
    joined, words = marks[index], 0
    if not joined.open:
        return index
    for last in range(index + 1, min(len(marks), index + _LONGEST_QUOTE_SPANS)):
        words += length(last - 1)
        if words > _LONGEST_QUOTE_WORDS:
            break
        joined += marks[last]
        if marks[last].last and not joined.open:
            return last
    return index


def _bounded(sentence: str) -> list[str]:
    """The sentence, or pieces of it where it is a text without end marks."""
    if not has_more_words(sentence, _LONGEST_WORDS):
        return [sentence]
    return _halved(sentence, [cut for cut in _SOFT_CUTS if cut.search(sentence)])


def _halved(text: str, cuts: list[re.Pattern[str]]) -> list[str]:
    """The text cut again and again near its middle, at a line's end if there is one, else at a comma or
    blank."""
    if not has_more_words(text, _PIECE_WORDS):
        return [text]
    for cut in cuts:
        if place := _nearest_to_middle(cut, text):
            return [*_halved(text[:place].strip(), cuts), *_halved(text[place:].strip(), cuts)]
    return [text]


def _nearest_to_middle(cut: re.Pattern[str], text: str) -> int:
    """Where the match ends that is nearest to the middle; 0 if none is between a fifth and four fifths.

    Looks around the middle first: to list all cuts at each halving takes longer than all the rest."""
    middle, reach = len(text) // 2, _NEAR_LETTERS
    while True:
        low, high = max(0, middle - reach), min(len(text), middle + reach)
        while low and text[low].isspace():  # a match that ends here may have begun before
            low -= 1
        places = [found.end() for found in cut.finditer(text, low, high)]
        places = [end for end in places if 0.2 < end / len(text) < 0.8 and (end < high or end == len(text))]
        if places:
            return min(places, key=lambda end: abs(end - middle))
        if low == 0 and high == len(text):
            return 0
        reach *= 8
