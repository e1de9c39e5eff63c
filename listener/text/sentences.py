"""Cuts text into sentences in any script, by its end marks and the abbreviations of its language. Keeps
quotes whole."""

import re
from collections.abc import Iterator

from listener.text.blocks import Block, split_blocks
from listener.text.language import detect_language
from listener.text.lexicon import Lexicon, lexicon
from listener.text.words import count_words, is_ideograph

_LONGEST_WORDS = 100  # beyond that it is a text without end marks, such as a transcript
_PIECE_WORDS = 35  # then it comes in pieces of this size at most
_LONGEST_QUOTE_WORDS = 60
_LOOK_BACK = 60  # letters before an end mark that can matter
_CLOSERS = "'\"\u201d\u2019\u201c\u00bb\u203a)\\]\uff09\u3011\u300d\u300f\u300b*_"
_WIDE_CLOSERS = _CLOSERS.replace("\u201c", "")
_WIDE = "\u3002\uff01\uff1f\uff61"  # end a sentence whatever follows
_STOP = re.compile(
    rf"(?P<wide>[{_WIDE}]+[{_WIDE_CLOSERS}]*)(?=[^{_WIDE}])"
    rf"|(?P<stop>[.!?\u2026\u203d\u061f\u06d4\u0964\u0965\u0589\u1362\u17d4]+)(?P<close>[{_CLOSERS}]*(?:\s\u00bb)?)(?=\s)"
)
_NEXT = re.compile(
    r"\s+['\"\u201c\u201e\u00ab\u2018(\[\u00bf\u00a1*_\u2013\u2014-]*\s*(?P<word>[^\s.,;:!?]*)(?P<dot>\.?)"
)
_TOKEN = re.compile(r"[^\s(\[\"'\u201c\u201e\u00ab/]*$")
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
_COMPLETE = re.compile(rf"[.!?\u2026\u203d\u061f\u06d4\u0964\u0965\u0589{_WIDE}][{_CLOSERS}`]*$")
_SAID = re.compile(f"[^\u201c\u300c\u300e{_WIDE}\n]{{1,8}}[{_WIDE}]")
_SOFT_CUTS = (
    re.compile(r"\n"),
    re.compile(r"[;\uff1b\u061b]\s*"),
    re.compile(r"[,\uff0c\u3001\u060c]\s*"),
    re.compile(r"\s+"),
)


def split_sentences(text: str, language: str | None = None) -> list[str]:
    """The sentences in order, stripped; headings, list items, tables and code stay one piece each.

    The language (found out if not given) decides on abbreviations and ordinals."""
    language = language or detect_language(text) or "en"
    return [sentence for block in split_blocks(text) for sentence in _cut_block(block, language)]


def cut_paragraph(text: str, language: str | None = None) -> list[str]:
    """The sentences of a text that is known to be one paragraph."""
    words = lexicon(language or detect_language(text) or "en")
    spans = _whole_quotes(text, list(_cut_at_stops(text, words)))
    return [piece for start, end in spans for piece in _bounded(text[start:end].strip())]


def last_sentence_complete(text: str) -> bool:
    """Whether the text ends where its last sentence does; headings, tables and code are complete as they
    are."""
    blocks = split_blocks(text)
    if not blocks:
        return False
    last = blocks[-1]
    if last.kind in ("code", "table", "rule", "heading"):
        return True
    if last.kind == "item" and len(blocks) > 1 and blocks[-2].kind == "item":
        return bool(_COMPLETE.search(last.text)) or not _COMPLETE.search(blocks[-2].text)
    return bool(_COMPLETE.search(last.text))


def trim_to_sentence(text: str) -> str:
    """The text up to the end of its last complete sentence; empty if no sentence is complete."""
    text = text.rstrip()
    while text and not last_sentence_complete(text):
        last = split_sentences(text)[-1]
        text = text[: text.rindex(last)].rstrip()
    return text


def join_sentences(sentences: list[str]) -> str:
    """Sentences as running text: with a blank between them, or none after an ideographic end mark."""
    out = ""
    for sentence in sentences:
        touching = out and (out[-1] in _WIDE or is_ideograph(out[-1])) and not sentence[0].isascii()
        out += sentence if not out or touching else " " + sentence
    return out


def _cut_block(block: Block, language: str) -> list[str]:
    if block.kind in ("heading", "code", "table", "rule"):
        return [block.text]
    return cut_paragraph(block.text, language)


def _cut_at_stops(text: str, words: Lexicon) -> Iterator[tuple[int, int]]:
    start = 0
    for match in _STOP.finditer(text):
        if match["wide"] and _SAID.match(text, match.end()) and match["wide"][-1] not in _WIDE:
            continue  # what was said and who said it belong together
        if match["wide"] or _ends_here(
            text[max(start, match.start() - _LOOK_BACK) : match.start()], match, words
        ):
            yield start, match.end()
            start = match.end()
    if text[start:].strip():
        yield start, len(text)


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
    token = _TOKEN.search(before)
    initial = bool(following and following["dot"] and len(after) == 1)  # "A. S. Pushkin"
    return _full_stop_ends(token[0] if token else "", before, "" if initial else after, words)


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
    index = 0
    while index < len(spans):
        last = _closing_index(text, spans, index)
        yield spans[index][0], spans[last][1]
        index = last + 1


def _closing_index(text: str, spans: list[tuple[int, int]], index: int) -> int:
    start = spans[index][0]
    for last in range(index, len(spans)):
        joined = text[start : spans[last][1]]
        if not _is_open(joined):
            return last
        if count_words(joined) > _LONGEST_QUOTE_WORDS:
            break
    return index


def _is_open(text: str) -> bool:
    if text.count('"') % 2 or text.count("`") % 2:
        return True
    pairs = _GERMAN_PAIRS if "\u201e" in text else _PAIRS
    return any(
        text.rfind(opening) > max(text.rfind(letter) for letter in closing)
        for opening, closing in pairs.items()
        if opening in text
    )


def _bounded(sentence: str) -> list[str]:
    """The sentence, or pieces of it where it is a text without end marks."""
    return [sentence] if count_words(sentence) <= _LONGEST_WORDS else _halved(sentence)


def _halved(text: str) -> list[str]:
    """The text cut again and again near its middle, at a line's end if there is one, else at a comma or
    blank."""
    if count_words(text) <= _PIECE_WORDS:
        return [text]
    middle = len(text) // 2
    for cut in _SOFT_CUTS:
        places = [found.end() for found in cut.finditer(text) if 0.2 < found.end() / len(text) < 0.8]
        if places:
            place = min(places, key=lambda position: abs(position - middle))
            return [*_halved(text[:place].strip()), *_halved(text[place:].strip())]
    return [text]
