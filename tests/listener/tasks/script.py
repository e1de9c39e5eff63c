"""A model whose answers a test writes down: what a task asks of a model, without a server."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from listener.model.chat import Answer, Hear, Message
from listener.text.tokens import estimate_tokens

T = TypeVar("T")


async def here(work: Callable[..., T], *arguments: Any) -> T:
    """Work on a text, in this process."""
    return work(*arguments)


@dataclass
class Script:
    """Says the next of `answers` at each call; `asked` are all calls' messages, `rooms` their limits."""

    answers: list[str]
    cut: Sequence[bool] = ()
    context_tokens: int = 8192
    thinks: bool = False
    name: str = "scripted:latest"
    engine: str = "ollama"
    asked: list[list[Message]] = field(default_factory=list)
    rooms: list[int] = field(default_factory=list)

    def estimate(self, text: str) -> int:
        return estimate_tokens(text)

    async def chat(self, messages: Sequence[Message], *, answer_tokens: int, hear: Hear) -> Answer:
        self.asked.append(list(messages))
        self.rooms.append(answer_tokens)
        call = len(self.asked) - 1
        for word in self.answers[call].split(" "):
            hear(word + " ")
            await asyncio.sleep(0)  # as it is with a server: pieces come in turns of the loop
        cut = call < len(self.cut) and self.cut[call]
        return Answer(self.answers[call], cut, 10, 5, 0.1, 0.2)


@dataclass
class Heard:
    """What a task emitted."""

    texts: list[str] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)

    def emit(self, text: str, share: float) -> None:
        self.texts.append(text)
        self.shares.append(share)

    @property
    def text(self) -> str:
        return "".join(self.texts)


WORDS = {
    "who": "council baker ferryman teacher engineer surgeon painter miller sailor gardener smith clerk",
    "where": "Melford Harwich Sudbury Clare Haverhill Lavenham Bures Halstead Colne Witham Kelvedon",
    "did": "mended closed painted widened measured opened flooded sold named lit copied praised weighed",
    "what": "bridge market chapel orchard ledger boat kiln library engine garden tower mill canal",
    "when": "winter dawn harvest supper Easter midnight Monday autumn school dusk spring",
}


def sentences(count: int) -> str:
    """English of ten words a sentence, no two alike."""
    who, where, did, what, when = (words.split() for words in WORDS.values())
    pieces = (
        (who[n % 12], where[n % 11], did[n % 13], what[n * 5 % 13], when[n * 3 % 11]) for n in range(count)
    )
    return " ".join("The {} of {} {} a quiet {} before {}.".format(*words) for words in pieces)
