"""How a model's own counts of tokens compare with our estimates, by script: the middle of many answers,
within what the bytes of each text allow.

Only to notice a prompt that was cut. Whether a text fits is never decided on this: another's answer must not
make it too long.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from listener.text.tokens import Script, estimate_tokens, script_of

RATIOS_KEPT = 64
RATIOS_NEEDED = 8  # fewer teach nothing
MESSAGE_TOKENS = 12  # what a server's template adds around each message
TEMPLATE_TOKENS = 1024  # at most what a model's own instructions add to a prompt
MOST_BYTES_PER_TOKEN = 16


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is known of a prompt without asking anybody: tokens as estimated, and what its bytes allow. A
    tokenizer makes at most one token of a byte."""

    script: Script
    estimate: int
    least: int
    most: int

    def allows(self, tokens: int) -> bool:
        """Whether so many can be in it, whatever the server's template adds."""
        return 0 < tokens <= self.most + TEMPLATE_TOKENS


def read_prompt(messages: Sequence[Mapping[str, str]]) -> Prompt:
    """Of the messages as they are sent."""
    text = "\n".join(message["content"] for message in messages)
    around, size = MESSAGE_TOKENS * len(messages), len(text.encode())
    return Prompt(
        script_of(text), estimate_tokens(text) + around, size // MOST_BYTES_PER_TOKEN, size + around
    )


@dataclass(slots=True)
class Calibration:
    """One model's, as one server serves it."""

    _ratios: dict[Script, deque[float]] = field(default_factory=dict)

    def learn(self, prompt: Prompt, tokens: int) -> None:
        """The server has counted so many; what the text cannot hold is not listened to."""
        if prompt.least <= tokens <= prompt.most:
            ratios = self._ratios.setdefault(prompt.script, deque(maxlen=RATIOS_KEPT))
            ratios.append(tokens / max(1, prompt.estimate))

    def ratio(self, script: Script) -> float:
        """Counted to estimated, 1 while too little is known."""
        ratios = self._ratios.get(script, ())
        return median(ratios) if len(ratios) >= RATIOS_NEEDED else 1.0
