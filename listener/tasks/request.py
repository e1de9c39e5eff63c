"""What a task takes and gives: the request, the model as it sees it, the result."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from listener.model.chat import Answer, Hear, Message

Task = Literal["summarize", "shorten"]
Style = Literal["plain", "bullets", "headline"]

# A piece of the text so far (perhaps empty), and how far the whole is, between 0 and 1.
Emit = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked, its source loaded. `language` is a BCP 47 tag, None for that of the text."""

    task: Task
    text: str
    target_words: int | None = None
    target_ratio: float | None = None
    style: Style = "plain"
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """The text, what was measured on it, and what made it."""

    body: str
    checks: Mapping[str, Any]
    engine: Mapping[str, Any]


class ChatModel(Protocol):
    """What a task asks: listener.model.chat.Model, or a script in a test."""

    @property
    def name(self) -> str: ...
    @property
    def engine(self) -> str: ...
    @property
    def context_tokens(self) -> int: ...
    @property
    def thinks(self) -> bool: ...

    def estimate(self, text: str) -> int: ...

    async def chat(self, messages: Sequence[Message], *, answer_tokens: int, hear: Hear) -> Answer: ...
