"""One model on one model server: a streaming chat, its every ending classed.

Knows no task and no queue. There is one code path for Ollama and for the built-in engine.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import structlog
from prometheus_client import Counter, Histogram

from listener.errors import CapacityError, TaskError, UnreachableError
from listener.model import diagnosis
from listener.model.calibration import Calibration, Prompt, read_prompt
from listener.model.rulings import rule
from listener.model.server import Record, Server
from listener.text.tokens import estimate_tokens

END_SECONDS = 1.0  # after the last record, for the stream's own end, so that the connection can be used again
TEMPERATURE = 0.2
NEAR_TOKENS = 8
CUT_SHARE = 0.7
BYTES_PER_TOKEN = 4
LONGEST = 4  # an answer may be so many times as long as was asked for
LEAST_ANSWER_BYTES = 64 * 1024  # and may always have so much
LONG_CHARACTERS = 50_000  # a prompt of more is measured beside the loop
MOST_COUNTED = 10_000_000  # tokens of an answer: more is nonsense

CALLS = Counter("precis_model_calls_total", "Model calls, by how they ended.", ["model", "outcome"])
FIRST_TOKEN = Histogram(
    "precis_model_first_token_seconds",
    "From the call to the first token.",
    ["model"],
    buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300),
)
TOKENS = Counter("precis_model_tokens_total", "Tokens, as the model server counts them.", ["model", "kind"])

log = structlog.get_logger()

Message = Mapping[str, str]
Hear = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. `cut`: the model was stopped at the limit of its answer's length."""

    text: str
    cut: bool
    prompt_tokens: int
    output_tokens: int
    first_token_seconds: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a call may be silent before its first token, and between two."""

    first_token_seconds: float
    idle_seconds: float


@dataclass(slots=True)
class Model:
    """A model as one server serves it. `context_tokens` is one number per model: another would reload it."""

    server: Server
    name: str
    digest: str
    engine: Literal["ollama", "extractive"]
    context_tokens: int
    capabilities: tuple[str, ...]
    patience: Patience
    keep_alive: str | int
    refusals: int = 0  # how often in a row the server was too busy
    calibration: Calibration = field(default_factory=Calibration)

    @property
    def thinks(self) -> bool:
        """Whether the model may spend tokens on reasoning that is not the answer."""
        return "thinking" in self.capabilities

    def estimate(self, text: str) -> int:
        """Tokens of a text, rather too many: by the text alone, since what other answers have taught must not
        make it too long."""
        return estimate_tokens(text)

    async def chat(self, messages: Sequence[Message], *, answer_tokens: int, hear: Hear) -> Answer:
        """Ask, and let each piece of text be heard as it comes. What `hear` raises ends the call, and passes.

        Raises TaskError.
        """
        outcome = "cancelled"
        try:
            answer = await self._ask(messages, answer_tokens, hear)
            answer = self._weigh(await _read_prompt(messages), answer)
            outcome, self.refusals = "ok", 0
        except TaskError as error:
            outcome = error.code
            raise
        except diagnosis.CLIENT_ERRORS as error:
            fault = diagnosis.diagnose(error)
            outcome = fault.code
            self.refusals += isinstance(fault, CapacityError)
            if isinstance(fault, UnreachableError):  # else the words may be of the text
                log.warning("model.unreachable", model=self.name, reason=diagnosis.reason(error))
            raise fault from error
        finally:
            CALLS.labels(self.name, outcome).inc()
        return answer

    async def _ask(self, messages: Sequence[Message], answer_tokens: int, hear: Hear) -> Answer:
        stream = self.server.stream_chat(
            self._body(messages, answer_tokens), most_bytes=most_answer_bytes(answer_tokens)
        )
        async with contextlib.aclosing(stream):  # a mere `break` would leave the call running
            return await _Reading(self.patience, hear).read(stream)

    def _body(self, messages: Sequence[Message], answer_tokens: int) -> dict[str, Any]:
        body = {
            "model": self.name,
            "messages": list(messages),
            "stream": True,
            # Refuse what does not fit instead of dropping its beginning (from 0.12.6 on).
            "truncate": False,
            "keep_alive": self.keep_alive,
            "options": {
                "num_ctx": self.context_tokens,
                "num_predict": answer_tokens,
                "temperature": TEMPERATURE,
            },
        }
        return body | {"think": False} if self.thinks else body

    def _weigh(self, prompt: Prompt, answer: Answer) -> Answer:
        """Learn from the server's counts; raise if they show that a part of the prompt was dropped. A count
        that cannot be true is none."""
        counted = answer.prompt_tokens if prompt.allows(answer.prompt_tokens) else 0
        said = answer.output_tokens if 0 < answer.output_tokens <= MOST_COUNTED else 0
        FIRST_TOKEN.labels(self.name).observe(answer.first_token_seconds)
        TOKENS.labels(self.name, "prompt").inc(counted)
        TOKENS.labels(self.name, "output").inc(said)
        # Of the ratio only what lowers the estimate: others' answers must not make a whole prompt look cut.
        expected = prompt.estimate * min(1.0, self.calibration.ratio(prompt.script))
        if is_cut(counted, estimate=expected, context=self.context_tokens):
            raise rule("input_too_long")
        self.calibration.learn(prompt, counted)
        return replace(answer, prompt_tokens=counted, output_tokens=said)


async def _read_prompt(messages: Sequence[Message]) -> Prompt:
    """Beside the loop if it is long."""
    if sum(len(message["content"]) for message in messages) < LONG_CHARACTERS:
        return read_prompt(messages)
    return await asyncio.to_thread(read_prompt, messages)


def most_answer_bytes(answer_tokens: int) -> int:
    """How long an answer may get, in bytes of UTF-8, when so many tokens were asked for."""
    return max(LEAST_ANSWER_BYTES, LONGEST * BYTES_PER_TOKEN * answer_tokens)


def is_cut(prompt_tokens: int, *, estimate: float, context: int) -> bool:
    """Whether the count betrays that the server dropped the beginning of the prompt without a word.

    A full window: our budgets leave room for the answer, so no whole prompt fills it (servers before 0.31 cut
    to the window). About half of it, and far fewer than estimated: servers from 0.31 on cut to that.
    """
    if prompt_tokens >= context - NEAR_TOKENS:
        return True
    return abs(prompt_tokens - context // 2) <= NEAR_TOKENS and prompt_tokens < CUT_SHARE * estimate


@dataclass(slots=True)
class _Reading:
    """One stream, from the first record to the last."""

    patience: Patience
    hear: Hear
    started: float = field(default_factory=time.monotonic)
    first_token_seconds: float | None = None
    parts: list[str] = field(default_factory=list)

    async def read(self, stream: AsyncGenerator[Record, None]) -> Answer:
        while (record := await self._next(stream)) is not None:
            if self.first_token_seconds is None:
                self.first_token_seconds = time.monotonic() - self.started
            if record.text:
                self.parts.append(record.text)
                self.hear(record.text)
            if record.done:
                await _exhaust(stream)
                return self._conclude(record)
        raise rule("answer_incomplete")

    async def _next(self, stream: AsyncGenerator[Record, None]) -> Record | None:
        first = self.first_token_seconds is None
        wait = self.patience.first_token_seconds if first else self.patience.idle_seconds
        try:
            async with asyncio.timeout(wait):
                return await anext(stream, None)
        except TimeoutError as error:
            raise rule("model_timeout" if first else "model_stalled") from error

    def _conclude(self, last: Record) -> Answer:
        text = "".join(self.parts)
        if not text.strip():
            raise rule("answer_empty")
        return Answer(
            text=text,
            cut=last.reason == "length",
            prompt_tokens=last.prompt_tokens,
            output_tokens=last.output_tokens,
            first_token_seconds=self.first_token_seconds or 0.0,
            seconds=time.monotonic() - self.started,
        )


async def _exhaust(stream: AsyncGenerator[Record, None]) -> None:
    with contextlib.suppress(TimeoutError, *diagnosis.CLIENT_ERRORS):
        async with asyncio.timeout(END_SECONDS):
            await anext(stream, None)
