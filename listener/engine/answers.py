"""Turns a call into all that is sent back: the pieces of the text, why it ends, what it counts."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from listener.engine import faults
from listener.engine.attention import Checkpoint
from listener.engine.calls import Call
from listener.engine.card import CardError, read_order
from listener.engine.composition import SchemaError, compose
from listener.engine.faults import Fault, Rule
from listener.engine.metrics import COMPOSING
from listener.engine.refusal import Refusal
from listener.text.tokens import estimate_tokens


@dataclass(frozen=True, slots=True)
class Answer:
    """A call's answer; `compose_ns` is what making it took."""

    call: Call
    pieces: Sequence[str]
    reason: str
    prompt_tokens: int
    compose_ns: int
    faults: dict[Fault, Rule]


def make_answer(call: Call, befallen: dict[Fault, Rule], checkpoint: Checkpoint) -> Answer:
    """The whole answer, before any of it is sent. Raises Refusal, and what `checkpoint` raises."""
    began = time.monotonic_ns()
    prompt_tokens = estimate_tokens(call.prompt)
    faults.refuse(befallen, call, prompt_tokens)
    with COMPOSING.time():
        pieces, reason = _within(_compose(call, checkpoint), call.num_predict)
    if "half_prompt_count" in befallen:
        prompt_tokens = faults.cut_prompt_count(call)
    pieces = faults.spoil(pieces, befallen)
    return Answer(call, pieces, reason, prompt_tokens, time.monotonic_ns() - began, befallen)


def _compose(call: Call, checkpoint: Checkpoint) -> Sequence[str]:
    try:
        return compose(read_order(call.users), call.schema, checkpoint)
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
