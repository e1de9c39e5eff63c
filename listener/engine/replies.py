"""Turns a call into all that is sent back: JSON records as Ollama writes them, what is counted in the last.

Plain functions that run in a child process where a call is large: light to import, and a refusal is returned.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any

from listener.engine.calls import Call, Refusal, read_object
from listener.engine.composition import SchemaError, compose
from listener.engine.orders import OrderError, read_order
from listener.text.tokens import estimate_tokens


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes over the wire. To make it took `compose_ns`."""

    body: bytes
    compose_ns: int


def read_call(read: Callable[[dict[str, Any]], Call], raw: bytes) -> Call | Refusal:
    """The call in the body of a request."""
    try:
        return read(read_object(raw))
    except Refusal as refusal:
        return refusal


def make_reply(call: Call) -> Reply | Refusal:
    """All records of the answer, before any of it is sent."""
    try:
        return _make(call)
    except Refusal as refusal:
        return refusal


def piece_record(call: Call, text: str) -> dict[str, Any]:
    """A record with some more of the answer."""
    return {**_start(call, text), "done": False}


def last_record(call: Call, text: str, reason: str, **counts: int) -> dict[str, Any]:
    """The record that ends an answer. With `stream` off it is the only one and holds the whole text."""
    return {**_start(call, text), "done": True, "done_reason": reason, **counts}


def encode(record: dict[str, Any]) -> bytes:
    """A record as it goes over the wire."""
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _make(call: Call) -> Reply:
    began = time.monotonic_ns()
    pieces, reason = _within(_compose(call), call.num_predict)
    counts = {
        "prompt_eval_count": estimate_tokens(call.prompt),
        "eval_count": estimate_tokens("".join(pieces)),
    }
    took = time.monotonic_ns() - began
    # The durations of sending are the client's own; what the engine takes is in making the answer.
    times = {"total_duration": took, "load_duration": 1, "prompt_eval_duration": took, "eval_duration": 1}
    return Reply(_render(call, pieces, reason, counts | times), took)


def _render(call: Call, pieces: Sequence[str], reason: str, counts: dict[str, int]) -> bytes:
    """All is there: records that go out one by one would wake the client for each."""
    if not call.stream:
        return encode(last_record(call, "".join(pieces), reason, **counts))
    records = [*(piece_record(call, text) for text in pieces), last_record(call, "", reason, **counts)]
    return b"".join(map(encode, records))


def _compose(call: Call) -> Sequence[str]:
    try:
        return compose(read_order(call.users), call.schema)
    except (OrderError, SchemaError) as error:
        raise Refusal(400, f"invalid task: {error}") from error


def _within(pieces: Sequence[str], num_predict: int) -> tuple[Sequence[str], str]:
    """The pieces that fit into `num_predict` tokens (below 1: all), at least one, and the reason for the
    end."""
    if num_predict < 1:
        return pieces, "stop"
    sizes = accumulate(estimate_tokens(piece) for piece in pieces)
    fitting = sum(size <= num_predict for size in sizes)
    return (pieces, "stop") if fitting == len(pieces) else (pieces[: max(1, fitting)], "length")


def _start(call: Call, text: str) -> dict[str, Any]:
    content = {"message": {"role": "assistant", "content": text}} if call.chat else {"response": text}
    created = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return {"model": call.model, "created_at": created, **content}
