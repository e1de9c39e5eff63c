"""Turns a call into all that is sent back: the pieces of the text, why it ends, what it counts.

Plain functions that run in a child process where a call is large: light to import, and a refusal is returned.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

from listener.engine import faults
from listener.engine.calls import Call, read_object
from listener.engine.card import CardError, read_order
from listener.engine.composition import SchemaError, compose
from listener.engine.faults import Fault, Rule
from listener.engine.records import encode, last_record, piece_record
from listener.engine.refusal import Refusal
from listener.text.tokens import estimate_tokens


@dataclass(frozen=True, slots=True)
class Answer:
    """A call's answer; `compose_ns` is what making it took, `body` is how it goes over the wire."""

    call: Call
    pieces: Sequence[str]
    reason: str
    prompt_tokens: int
    output_tokens: int
    compose_ns: int
    faults: dict[Fault, Rule]
    body: bytes = b""

    @property
    def text(self) -> str:
        """All pieces."""
        return "".join(self.pieces)

    def last(self, text: str) -> dict[str, Any]:
        """The record that ends it."""
        # The durations of sending are the client's own; what the engine takes is in making the answer.
        return last_record(
            self.call,
            text,
            self.reason,
            total_duration=self.compose_ns,
            load_duration=1,
            prompt_eval_count=self.prompt_tokens,
            prompt_eval_duration=self.compose_ns,
            eval_count=self.output_tokens,
            eval_duration=1,
        )


def read_call(read: Callable[[dict[str, Any]], Call], raw: bytes) -> Call | Refusal:
    """The call in the body of a request."""
    try:
        return read(read_object(raw))
    except Refusal as refusal:
        return refusal


def make_answer(call: Call, befallen: dict[Fault, Rule]) -> Answer | Refusal:
    """The whole answer, before any of it is sent."""
    try:
        made = _make(call, befallen)
    except Refusal as refusal:
        return refusal
    if befallen:  # sent piece by piece
        return made
    return replace(made, body=_render(made), pieces=(), call=replace(call, users=(), prompt=""))


def _make(call: Call, befallen: dict[Fault, Rule]) -> Answer:
    began = time.monotonic_ns()
    prompt_tokens = estimate_tokens(call.prompt)
    faults.refuse(befallen, call, prompt_tokens)
    pieces, reason = _within(_compose(call), call.num_predict)
    if "half_prompt_count" in befallen:
        prompt_tokens = faults.cut_prompt_count(call)
    pieces = faults.spoil(pieces, befallen)
    said = estimate_tokens("".join(pieces))
    return Answer(call, pieces, reason, prompt_tokens, said, time.monotonic_ns() - began, befallen)


def _render(answer: Answer) -> bytes:
    """All is there: records that go out one by one would wake the client for each."""
    if not answer.call.stream:
        return encode(answer.last(answer.text))
    records = [*(piece_record(answer.call, text) for text in answer.pieces), answer.last("")]
    return b"".join(map(encode, records))


def _compose(call: Call) -> Sequence[str]:
    try:
        return compose(read_order(call.users), call.schema)
    except (CardError, SchemaError) as error:
        raise Refusal(400, f"invalid task: {error}") from error


def _within(pieces: Sequence[str], num_predict: int) -> tuple[Sequence[str], str]:
    """The pieces that fit into `num_predict` tokens (below 1: all), at least one, and the reason for the
    end."""
    if num_predict < 1:
        return pieces, "stop"
    sizes = accumulate(estimate_tokens(piece) for piece in pieces)
    fitting = sum(size <= num_predict for size in sizes)
    return (pieces, "stop") if fitting == len(pieces) else (pieces[: max(1, fitting)], "length")
