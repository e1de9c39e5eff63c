"""Texts that nobody writes and anybody may send: runs, openings that never close, one word without end, a
million tiny sentences. Each kind in any length."""

import random
from collections.abc import Callable

from tests.listener.text.corpus import CORPUS

PROSE = "\n\n".join(sample.text for sample in CORPUS)

# Repeated up to the length that is asked for.
UNITS = {
    "letters": "a",
    "capitals": "A",
    "digits": "7",
    "underscores": "_",
    "ideographs": "漢",
    "kana": "カ",
    "hangul": "한",
    "thai": "ก",
    "arabic": "ا",
    "devanagari": "क",
    "spaces": " ",
    "newlines": "\n",
    "tabs": "\t",
    "line separators": "\u2028",
    "next lines": "\x85",
    "wide blanks": "\u3000",
    "NUL": "\x00",
    "returns": "\r",
    "form feeds": "\x0c",
    "no-break blanks": "\xa0",
    "joiners": "\u200d",
    "zero-width": "\u200b",
    "soft hyphens": "a\xad",
    "surrogates": "\ud800",
    "combining": "a\u0301",
    "only combining": "\u0301",
    "marks out of order": "\u0301\u0323",
    "emoji": "\U0001f64f",
    "families": "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "flags": "\U0001f3f4\U000e0067\U000e007f",
    "right to left": "\u202e\u05e9\u05dc\u05d5\u05dd ",
    "han numbers": "九",
    "han units": "千万",
    "stops": ".",
    "ellipses": "…",
    "wide stops": "。",
    "asked and cried": "a?!",
    "questions": "?",
    "spaced stops": ". ",
    "commas": "a,",
    "colons": "a: ",
    "semicolons": "a;",
    "dashes": "--",
    "bullets": "• ",
    "en dashes": "–",
    "brackets": "[",
    "link beginnings": "[](",
    "images": "![a](",
    "links": "[a](b) ",
    "link titles": '[a](b "',
    "parentheses": "(",
    "nested": "(a ",
    "closed": "(a) ",
    "wide parentheses": "（",
    "braces": "{",
    "closings": ")",
    "double quotes": '"',
    "quoted": '"a b c d e f g h" ',
    "open quotes": "“a ",
    "low quotes": "„",
    "guillemets": "«",
    "closing guillemets": "a. »",
    "corners": "「",
    "corner and quoted": '「"twelve letters" ',
    "apostrophes": "'",
    "words' ends": "a'",
    "stars": "*",
    "starred": "*a ",
    "bold": "**a** ",
    "half bold": "**a",
    "underlined": "_a ",
    "hashes": "#",
    "heads": "# a #",
    "headings": "# A b\n\n",
    "pipes": "|",
    "rows": "| a | b |\n",
    "backticks": "`",
    "fences": "```\n",
    "fences with names": "```a\n",
    "tildes and ticks": "~~~~\n```\n",
    "quotes": "> a\n",
    "deep quotes": ">",
    "items": "- a\n",
    "numbered": "1. a\n\n",
    "rules": "***\n",
    "setext": "a\n===\n\n",
    "indented": "    a = b;\n",
    "at signs": "@",
    "addresses": "a@a",
    "mails": "a@b.co ",
    "hyphens": "a-",
    "dots": "a.",
    "urls": "http://a.b/c ",
    "long url": "http://a",
    "empty urls": "http://. ",
    "link ends": "](a ",
    "see": "see a ",
    "grouped": "1.234",
    "spaced groups": "123 ",
    "figures": "7, 8. ",
    "glued figures": "1a",
    "tiny sentences": "A b. ",
    "one-letter sentences": "A. ",
    "initials": "A.B. ",
    "abbreviations": "e.g. ",
    "wide sentences": "你好。",
    "said": "他说：「好。」",
    "same word": "word ",
    "said again": "The same sentence is said again and again here. ",
    "not": "not ",
    "may not": "may n't ",
    "fillers": "in order to ",
    "very": ", very, ",
    "opened": "it should be noted that ",
    "less than": "<",
    "tags": "<b>",
    "end tokens": "<|end|>",
    "thoughts": "<think>a</think>",
    "thought ends": "</think>",
    "channels": "<|channel|>a",
    "half marks": "<a",
    "delimiters": "<doc-7f3a>",
    "leaks": '{"task":',
    "marks": "[INST]",
    "courtesies": "let me know\n",
    "note after note": "let me know ",
    "openings": "Sure! Here is the summary:\n",
    "escaped": "&lt;doc-",
    "fence": "<doc-a",
    "json": "[[",
    "objects": '{"a":',
    "backslashes": "\\",
    "base64": "aGVsbG8+/=",
    "paragraphs": "a\n\n",
    "short paragraphs": "A b c. D e f. G h i.\n\n",
    "no stops": "some words without end ",
    "lines without stops": "some words on a line\n",
    "codes": "x_1 = {y};\n",
    "spaces and marks": "  ,",
    "a and spaces": "a   ",
}


def _repeated(unit: str) -> Callable[[int], str]:
    return lambda size: (unit * (size // len(unit) + 1))[:size]


def _numbered(pattern: str) -> Callable[[int], str]:
    """A text of pieces that all differ."""

    def build(size: int) -> str:
        return "".join(pattern.format(n=n, w=_word(n)) for n in range(size // 8))[:size]

    return build


def _word(number: int) -> str:
    letters = ""
    while number or not letters:
        number, rest = divmod(number, 26)
        letters += chr(ord("a") + rest)
    return letters


def _around(middle: str) -> Callable[[int], str]:
    """A run between two words: only its end shows what it was."""
    return lambda size: "b " + middle * (max(0, size - 4) // len(middle)) + " b"


def _mixed(size: int) -> str:
    draw = random.Random(size)
    return "".join(draw.choice(PIECES) for _ in range(size // 2))[:size]


PIECES = [*set("".join(UNITS.values())), *UNITS.values()]

TEXTS: dict[str, Callable[[int], str]] = {
    **{name: _repeated(unit) for name, unit in UNITS.items()},
    "distinct words": _numbered("{w} "),
    "distinct sentences": _numbered("This speaks of {w}. "),
    "distinct names": _numbered("a {w}X Bb{w} "),
    "distinct capitals": _numbered("See Q{w}. "),
    "distinct numbers": _numbered("{n} "),
    "distinct quotations": _numbered('"he told {w} all of it" '),
    "distinct urls": _numbered("http://a.b/{w} "),
    "distinct mails": _numbered("{w}@{w}.org "),
    "distinct headings": _numbered("# {w}\n\nIt is {w}.\n\n"),
    "distinct fences": _numbered("```{w}\n"),
    "distinct leaks": _numbered("<doc-{n}> "),
    "growing words": lambda size: " ".join("a" * n for n in range(int((2 * size) ** 0.5)))[:size],
    "deep nesting": lambda size: "(" * (size // 2) + ")" * (size // 2),
    "blanks inside": _around(" "),
    "tabs inside": _around("\t"),
    "newlines inside": _around("\n"),
    "stops inside": _around("."),
    "emphasis inside": _around("*"),
    "half a link inside": _around("["),
    "one heading": lambda size: "# " + "Head Word " * (size // 12) + "\n\nIt is short. It ends.\n",
    "one list item": lambda size: "- " + "item word " * (size // 12),
    "prose": lambda size: (PROSE * (size // len(PROSE) + 1))[:size],
    "prose on one line": lambda size: (PROSE * (size // len(PROSE) + 1))[:size].replace("\n", " "),
    "prose and a blob": lambda size: PROSE[: size // 2] + "x" * (size // 2),
    "mixed": _mixed,
}
