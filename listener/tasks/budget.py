"""How long an answer should be, and whether a text fits a model with it. Decisions only."""

import math
from dataclasses import dataclass

from listener.model import diagnosis
from listener.tasks.request import ChatModel, Request

DEFAULT_SHARE = 0.15  # of the source, for a summary without a target
DEFAULT_LEAST_WORDS = 60
DEFAULT_MOST_WORDS = 250
HEADLINE_WORDS = 12
DEFAULT_RATIO = 0.5

OVERRUN = 1.6  # an answer may be so much longer than asked before it is stopped
SPARE_TOKENS = 64
THINKING_TOKENS = 1024
TRANSLATED_TOKENS_PER_WORD = 2.5  # for an answer in another language than the source
SAFETY_SHARE = 0.1
MESSAGE_TOKENS = 32


@dataclass(frozen=True, slots=True)
class Target:
    """The length that is wanted. `ratio` is set for `shorten` only."""

    words: int
    ratio: float | None
    source_words: int

    @property
    def reached(self) -> bool:
        """The source is that short already."""
        return self.source_words <= self.words


def target_of(request: Request, source_words: int) -> Target:
    """What the request asks for, or what is sensible where it leaves that open."""
    if request.task == "shorten":
        ratio = request.target_ratio or (request.target_words or source_words * DEFAULT_RATIO) / source_words
        return Target(max(1, round(source_words * ratio)), ratio, source_words)
    if request.target_words or request.target_ratio:
        words = request.target_words or round(source_words * (request.target_ratio or 0))
    elif request.style == "headline":
        words = HEADLINE_WORDS
    else:
        words = min(max(round(source_words * DEFAULT_SHARE), DEFAULT_LEAST_WORDS), DEFAULT_MOST_WORDS)
    return Target(max(1, words), None, source_words)


def answer_tokens(request: Request, target: Target, source_tokens: int, model: ChatModel) -> int:
    """Where to stop the answer: the words wanted as tokens of this text, with room to overrun."""
    per_word = source_tokens / target.source_words
    if request.language is not None:
        per_word = max(per_word, TRANSLATED_TOKENS_PER_WORD)
    return (
        math.ceil(target.words * per_word * OVERRUN) + SPARE_TOKENS + (THINKING_TOKENS if model.thinks else 0)
    )


def check_fit(prompt: int, answer: int, model: ChatModel) -> None:
    """Raises PermanentError input_too_long if prompt and answer, of so many tokens, do not fit the model's
    context."""
    needed = prompt + MESSAGE_TOKENS
    available = math.floor(model.context_tokens * (1 - SAFETY_SHARE)) - answer
    if needed > available:
        raise diagnosis.too_long(needed, available)
