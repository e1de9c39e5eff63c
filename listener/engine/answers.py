"""Turns a call into all that is sent back: the pieces of the text, why it ends, what it counts.

Plain functions that run in a child process where a call is large: light to import, and a refusal is returned.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from listener.engine.calls import Call, read_object
from listener.engine.card import CardError, read_order
from listener.engine.composition import SchemaError, compose
from listener.engine.records import encode, last_record, piece_record
from listener.engine.refusal import Refusal
from listener.text.tokens import estimate_tokens


@dataclass(frozen=True, slots=True)
class Answer:
    """`body` is how it goes over the wire; to make it took `compose_ns`."""

    body: bytes
    compose_ns: int


def read_call(read: Callable[[dict[str, Any]], Call], raw: bytes) -> Call | Refusal:
    """The call in the body of a request."""
    try:
        return read(read_object(raw))
    except Refusal as refusal:
        return refusal


def make_answer(call: Call) -> Answer | Refusal:
    """The whole answer, before any of it is sent."""
    try:
        return _make(call)
    except Refusal as refusal:
        return refusal


def _make(call: Call) -> Answer:
    began = time.monotonic_ns()
    pieces, reason = _within(_compose(call), call.num_predict)
    counts = {
        "prompt_eval_count": estimate_tokens(call.prompt),
        "eval_count": estimate_tokens("".join(pieces)),
    }
    took = time.monotonic_ns() - began
    # The durations of sending are the client's own; what the engine takes is in making the answer.
    times = {"total_duration": took, "load_duration": 1, "prompt_eval_duration": took, "eval_duration": 1}
    return Answer(_render(call, pieces, reason, counts | times), took)


def _render(call: Call, pieces: Sequence[str], reason: str, counts: dict[str, int]) -> bytes:
    """All is there: records that go out one by one would wake the client for each."""
    if not call.stream:
        return encode(last_record(call, "".join(pieces), reason, **counts))
    records = [*(piece_record(call, text) for text in pieces), last_record(call, "", reason, **counts)]
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
