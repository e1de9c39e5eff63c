"""Brings a text into the one form that is stored, hashed and sent to a model: same letters, same blanks,
nothing invisible."""

import re
import sys
import unicodedata
from functools import cache
from typing import Literal

# Invisible characters carry hidden instructions past a reader: bidi controls, tags, variation selectors
# beyond the
# sixteen that emoji use, zero-width blanks, soft hyphens, and controls other than tab and newline.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff\ud800-\udfff]"
)
# Joiners spell words in Arabic and Indic scripts and glue emoji; anywhere else they are invisible.
_JOINER = re.compile(
    "(?<![\u0600-\u08ff\u0900-\u0dff\u1000-\u109f\ufb50-\ufeff\ufe0f\U0001f000-\U0001faff])[\u200c\u200d]+"
)
_LINE_END = re.compile("\r\n?|\x85|\u2028")
_PARAGRAPH_END = re.compile("[\u2029\x0b\x0c]")
_BLANK = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
# Runs of blanks are found by their first one, so that none is walked over again from its middle.
_TRAILING = re.compile(r"(?<![ \t])[ \t]+$", re.MULTILINE)
_INNER_RUN = re.compile(r"(?<=\S)(?: [ \t]++|\t[ \t]*+)(?=\S)")
_BLANK_LINES = re.compile(r"\n{3,}")
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})", re.MULTILINE)
_LAST_OF_BASIC_PLANE = 0xFFFF
_ASTRAL = re.compile("[\U00010000-\U0010ffff]")


def normalise(text: str) -> str:
    """The same text in NFC, with one kind of line end and blank, and without invisible characters;
    idempotent."""
    text = _PARAGRAPH_END.sub("\n\n", _LINE_END.sub("\n", text))
    text = _JOINER.sub("", _INVISIBLE.sub("", text))
    text = _TRAILING.sub("", canonical("NFC", _BLANK.sub(" ", text)))
    return "".join(_collapse(part, code) for part, code in _split_code(text)).strip("\n").rstrip()


def canonical(form: Literal["NFC", "NFD"], text: str) -> str:
    """The text in a canonical form, in linear time: unicodedata sorts a long run of combining marks by
    insertion, so these come to it in order."""
    if not text.isascii():
        text = _marks(_LAST_OF_BASIC_PLANE if _ASTRAL.search(text) is None else sys.maxunicode).sub(
            _in_order, text
        )
    return unicodedata.normalize(form, text)


@cache
def _marks(last: int) -> re.Pattern[str]:
    """More combining marks in a row than any script needs (Unicode's "stream-safe" texts have 30).

    Up to the last code that the text can have: each range beyond the basic plane costs every other letter a
    comparison."""
    codes = [code for code in range(last + 1) if unicodedata.combining(chr(code))]
    begins = [code for code, before in zip(codes, [-1, *codes], strict=False) if code != before + 1]
    ends = [code for code, after in zip(codes, [*codes[1:], -1], strict=True) if code != after - 1]
    ranges = (f"{chr(begin)}-{chr(end)}" for begin, end in zip(begins, ends, strict=True))
    return re.compile(f"[{''.join(ranges)}]{{31,}}+")


def _in_order(run: re.Match[str]) -> str:
    apart = "".join(unicodedata.normalize("NFD", mark) for mark in run[0])
    return "".join(sorted(apart, key=unicodedata.combining))


def _collapse(part: str, code: bool) -> str:
    if code:
        return part
    return _BLANK_LINES.sub("\n\n", _INNER_RUN.sub(_one_blank, part))


def _one_blank(run: re.Match[str]) -> str:
    return "\t" if "\t" in run[0] else " "


def _split_code(text: str) -> list[tuple[str, bool]]:
    """The text in parts, each with whether it is fenced code (whose blanks mean something)."""
    parts: list[tuple[str, bool]] = []
    position, opened = 0, ""
    for fence in _FENCE.finditer(text):
        if opened and not (fence[1][0] == opened[0] and len(fence[1]) >= len(opened)):
            continue
        cut = fence.end() if opened else fence.start()
        parts.append((text[position:cut], bool(opened)))
        position, opened = cut, "" if opened else fence[1]
    # A fence that is never closed is no code: a stray ``` must not freeze the rest.
    return [*parts, (text[position:], False)]
