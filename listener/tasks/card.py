"""The task card: one line of JSON that says what is wanted. The document follows it between its fence.

The built-in engine parses exactly this; a language model reads it.
"""

import json
from dataclasses import asdict, dataclass

from listener.tasks.request import Style, Task


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
