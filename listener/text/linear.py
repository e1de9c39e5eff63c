"""Compiles expressions for text that anybody may have written: by RE2, whose time for a match grows with the
text alone. Knows no expression itself.

RE2 has no look-around and no back reference, and its \\w, \\d, \\s and \\b know ASCII only: write classes of
`WORD` and `SPACE`. Where an expression can stay alive to the end of the text beside the matches of another
(a quotation that never closes, beside links), give each its own: every match would read to the end. A match
costs ten times what it costs in `re`, where the runs of one class stay: they cannot fail once begun.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import re2

WORD = r"\pL\pN_"  # within brackets
SPACE = r"\s\x0b\x1c-\x1f\x{85}\pZ"  # what str.isspace() takes, within brackets

_SURROGATE = re.compile("[\ud800-\udfff]")


class Expression:
    """A compiled expression. Takes any text: a lone surrogate, which UTF-8 cannot hold, counts as U+FFFD."""

    def __init__(self, pattern: str) -> None:
        options = re2.Options()
        options.log_errors = False
        self._compiled = re2.compile(pattern, options)

    def finditer(self, text: str) -> Iterator[Any]:
        """Matches from left to right, with the interface of those of `re`."""
        found: Iterator[Any] = self._compiled.finditer(_encodable(text))
        return found

    def sub(self, replace: Callable[[Any], str], text: str) -> str:
        """The text with each match replaced."""
        replaced: str = self._compiled.sub(replace, _encodable(text))
        return replaced


def _encodable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        return _SURROGATE.sub("\ufffd", text)
    return text
