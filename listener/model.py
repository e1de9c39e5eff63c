"""One model on one model server, through the `ollama` package: a streaming chat, its every ending classed.

Knows no task and no queue. There is one code path for Ollama and for the built-in engine.
"""

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self, cast

import httpx
import ollama
from prometheus_client import Counter, Histogram

from listener import diagnosis
from listener.errors import CapacityError, TaskError, TransientError
from listener.text.tokens import Script, estimate_tokens, script_of

CONNECT_SECONDS = 5.0
WRITE_SECONDS = 60.0
END_SECONDS = 1.0  # after the last record, for the stream's own end, so that the connection can be used again
NANOSECONDS = 1e9
TEMPERATURE = 0.2
NEAR_TOKENS = 8
CUT_SHARE = 0.7
RATIOS_KEPT = 20
MESSAGE_TOKENS = 12  # what a server's template adds around each message

CALLS = Counter("precis_model_calls_total", "Model calls, by how they ended.", ["model", "outcome"])
FIRST_TOKEN = Histogram(
    "precis_model_first_token_seconds",
    "From the call to the first token.",
    ["model"],
    buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300),
)
TOKENS = Counter("precis_model_tokens_total", "Tokens, as the model server counts them.", ["model", "kind"])

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


class Server(ollama.AsyncClient):
    """The HTTP interface of one server. `chat()` of the package cannot send `truncate`, hence this."""

    def __init__(self, url: str) -> None:
        super().__init__(
            url,
            timeout=httpx.Timeout(connect=CONNECT_SECONDS, read=None, write=WRITE_SECONDS, pool=None),
            trust_env=False,  # HTTP_PROXY would capture even loopback
        )
        # The package reads OLLAMA_API_KEY and would send it to any host.
        self._client.headers.pop("authorization", None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def fetch(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """A JSON answer. Raises diagnosis.CLIENT_ERRORS."""
        response = await self._request_raw(method, path, json=body)  # type: ignore[no-untyped-call]
        answer = response.json()
        if not isinstance(answer, dict):
            raise ollama.ResponseError("the answer is no JSON object")
        return answer

    async def stream_chat(self, body: Mapping[str, Any]) -> AsyncGenerator[ollama.ChatResponse, None]:
        """The records of a chat. Nothing is sent before the first is asked for."""
        stream = await self._request(ollama.ChatResponse, "POST", "/api/chat", json=body, stream=True)
        return cast("AsyncGenerator[ollama.ChatResponse, None]", stream)


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
    _ratios: dict[Script, deque[float]] = field(default_factory=dict)

    @property
    def thinks(self) -> bool:
        """Whether the model may spend tokens on reasoning that is not the answer."""
        return "thinking" in self.capabilities

    def estimate(self, text: str) -> int:
        """Tokens of a text for this model, rather too many: never below what its own counts have shown."""
        seen: float = max((1.0, *self._ratios.get(script_of(text), ())))
        return math.ceil(estimate_tokens(text) * seen)

    async def chat(self, messages: Sequence[Message], *, answer_tokens: int, hear: Hear) -> Answer:
        """Ask, and let each piece of text be heard as it comes. What `hear` raises ends the call, and passes.

        Raises TaskError.
        """
        outcome = "cancelled"
        try:
            answer = await self._ask(messages, answer_tokens, hear)
            self._weigh(messages, answer, answer_tokens)
            outcome, self.refusals = "ok", 0
        except TaskError as error:
            outcome = error.code
            raise
        except diagnosis.CLIENT_ERRORS as error:
            fault = diagnosis.diagnose(error)
            outcome = fault.code
            self.refusals += isinstance(fault, CapacityError)
            raise fault from error
        finally:
            CALLS.labels(self.name, outcome).inc()
        return answer

    async def _ask(self, messages: Sequence[Message], answer_tokens: int, hear: Hear) -> Answer:
        stream = await self.server.stream_chat(self._body(messages, answer_tokens))
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

    def _weigh(self, messages: Sequence[Message], answer: Answer, answer_tokens: int) -> None:
        """Learn from the server's count of the prompt; raise if it shows that a part was dropped."""
        FIRST_TOKEN.labels(self.name).observe(answer.first_token_seconds)
        TOKENS.labels(self.name, "prompt").inc(answer.prompt_tokens)
        TOKENS.labels(self.name, "output").inc(answer.output_tokens)
        text = "\n".join(message["content"] for message in messages)
        plain = estimate_tokens(text) + MESSAGE_TOKENS * len(messages)
        ratios = self._ratios.setdefault(script_of(text), deque(maxlen=RATIOS_KEPT))
        ratios.append(answer.prompt_tokens / max(1, plain))
        if is_cut(answer.prompt_tokens, estimate=plain, context=self.context_tokens):
            raise diagnosis.cut_off()


def is_cut(prompt_tokens: int, *, estimate: int, context: int) -> bool:
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

    async def read(self, stream: AsyncGenerator[ollama.ChatResponse, None]) -> Answer:
        while (record := await self._next(stream)) is not None:
            if self.first_token_seconds is None:
                self.first_token_seconds = time.monotonic() - self.started
            if text := storable(record.message.content or ""):
                self.parts.append(text)
                self.hear(text)
            if record.done:
                await _exhaust(stream)
                return self._conclude(record)
        raise TransientError(
            "answer_incomplete", f"The model server ended its answer in the middle. {diagnosis.TRY_LATER}"
        )

    async def _next(self, stream: AsyncGenerator[ollama.ChatResponse, None]) -> ollama.ChatResponse | None:
        first = self.first_token_seconds is None
        wait = self.patience.first_token_seconds if first else self.patience.idle_seconds
        try:
            async with asyncio.timeout(wait):
                return await anext(stream, None)
        except TimeoutError as error:
            code = "model_timeout" if first else "model_stalled"
            message = "did not begin to answer in time" if first else "stopped in the middle of its answer"
            raise TransientError(code, f"The model {message}. {diagnosis.TRY_LATER}") from error

    def _conclude(self, last: ollama.ChatResponse) -> Answer:
        text = "".join(self.parts)
        if not text.strip():
            raise TransientError("answer_empty", f"The model answered with nothing. {diagnosis.TRY_LATER}")
        return Answer(
            text=text,
            cut=last.done_reason == "length",
            prompt_tokens=last.prompt_eval_count or 0,
            output_tokens=last.eval_count or 0,
            first_token_seconds=self.first_token_seconds or 0.0,
            seconds=time.monotonic() - self.started,
        )


async def _exhaust(stream: AsyncGenerator[ollama.ChatResponse, None]) -> None:
    with contextlib.suppress(TimeoutError, *diagnosis.CLIENT_ERRORS):
        async with asyncio.timeout(END_SECONDS):
            await anext(stream, None)


def storable(text: str) -> str:
    """What Postgres can store of a text: no NUL, no lone surrogate."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
