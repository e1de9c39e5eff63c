"""The task card: one line of JSON that says what is wanted, and the fence around the document that follows
it.

The built-in engine parses exactly this; a language model reads it.
"""

import json
import re
import secrets
from dataclasses import asdict, dataclass

from listener.tasks.request import Style, Task

DELIMITER_BYTES = 4
LOOK_ALIKE = re.compile(r"<(/?doc-)", re.IGNORECASE)
ESCAPED = re.compile(r"&lt;(/?doc-)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Card:
    """`language` is "same" or a BCP 47 tag."""

    task: Task
    target_words: int | None
    target_ratio: float | None
    style: Style
    language: str

    def line(self) -> str:
        """The card as the first line of a message."""
        return json.dumps(asdict(self))


def draw_delimiter() -> str:
    """A name for the fence that the document cannot have known."""
    return f"doc-{secrets.token_hex(DELIMITER_BYTES)}"


def fence(document: str, delimiter: str) -> str:
    """The document between its fence; what looks like a fence inside is escaped."""
    document = LOOK_ALIKE.sub(r"&lt;\1", document)
    return f"<{delimiter}>\n{document}\n</{delimiter}>"


def unescape(text: str) -> str:
    """An answer with the document's look-alikes as they were."""
    return ESCAPED.sub(r"<\1", text)
