"""Scripted faults: what a model server does wrong, on order, so that tests meet it over the same wire.

Only there when the process is started with `--faults FILE`. The file is a JSON list of rules
{"match": {"model"?, "contains"?}, "times"?, "fault", "seconds"?}, read again for each call."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from listener.engine.calls import Call
from listener.engine.refusal import Refusal

Fault = Literal[
    "delay_headers",
    "error_503",
    "error_404",
    "error_400_nested",
    "error_500",
    "mid_stream_error",
    "no_done",
    "drop",
    "half_prompt_count",
    "think_leak",
    "repeat_loop",
    "slow_drip",
    "refuse_images",
]

MID_STREAM_ERROR = "an error was encountered while running the model: unexpected EOF"
LEAKED_THOUGHT = "<think>\nThe user wants a shorter text. Let me see what matters.\n</think>\n\n"
LOOP_PIECES = 2_000


class FaultsError(Exception):
    """The file of faults cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One fault and the calls it befalls: the first `times` that match."""

    fault: Fault
    model: str = ""
    contains: str = ""
    times: int | None = None
    seconds: float = 0.0


class Script:
    """The rules of a file, and how often each has been applied."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._applied: Counter[tuple[int, Rule]] = Counter()

    def faults_of(self, call: Call) -> dict[Fault, Rule]:
        """The faults that befall this call. Raises FaultsError."""
        found: dict[Fault, Rule] = {}
        for number, rule in enumerate(read_rules(self._path)):
            used_up = rule.times is not None and self._applied[number, rule] >= rule.times
            if not used_up and _matches(rule, call):
                self._applied[number, rule] += 1
                found.setdefault(rule.fault, rule)
        return found


def read_rules(path: Path) -> list[Rule]:
    """The rules of a file. Raises FaultsError."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        return [_rule(entry) for entry in entries]
    except (OSError, ValueError, TypeError, AttributeError, LookupError) as error:
        raise FaultsError(f"{path} is no list of fault rules: {error}") from error


def refuse(faults: dict[Fault, Rule], call: Call, prompt_tokens: int) -> None:
    """Raise what a call is refused with before it begins, if anything."""
    for fault, refusal in _refusals(call, prompt_tokens).items():
        if fault in faults:
            raise refusal


def cut_prompt_count(call: Call) -> int:
    """What is counted of a prompt that was silently cut, as servers from 0.31 on cut it."""
    return call.num_ctx - (call.num_ctx - 4) // 2


def spoil(pieces: Sequence[str], faults: dict[Fault, Rule]) -> list[str]:
    """The pieces of an answer as a faulty model would say them."""
    spoilt = list(pieces)
    if "think_leak" in faults:
        spoilt.insert(0, LEAKED_THOUGHT)
    if "repeat_loop" in faults:
        spoilt = [(spoilt or ["again"])[-1] + " "] * LOOP_PIECES
    return spoilt


def _rule(entry: dict[str, Any]) -> Rule:
    match = entry.get("match") or {}
    unknown = (set(entry) - {"match", "times", "fault", "seconds"}) | (set(match) - {"model", "contains"})
    if unknown:
        raise ValueError(f"unknown keys {sorted(unknown)}")
    if entry["fault"] not in get_args(Fault):
        raise ValueError(f"unknown fault {entry['fault']!r}")
    return Rule(
        entry["fault"],
        model=match.get("model", ""),
        contains=match.get("contains", ""),
        times=entry.get("times"),
        seconds=float(entry.get("seconds", 0.0)),
    )


def _matches(rule: Rule, call: Call) -> bool:
    return rule.model in ("", call.model, call.model.partition(":")[0]) and rule.contains in call.prompt


def _refusals(call: Call, prompt_tokens: int) -> dict[Fault, Refusal]:
    return {
        "error_503": Refusal(503, "server busy, please try again.  maximum pending requests exceeded"),
        "error_404": Refusal(404, f"model '{call.model}' not found"),
        "error_400_nested": Refusal(400, _nested_error(call, prompt_tokens)),
        "error_500": Refusal(
            500,
            "model runner has unexpectedly stopped, this may be due to resource limitations or an internal "
            "error, check ollama server logs for details",
        ),
        "refuse_images": Refusal(400, f'"{call.model}" does not support vision'),
    }


def _nested_error(call: Call, prompt_tokens: int) -> str:
    message = "the request exceeds the available context size, try increasing it"
    return json.dumps(
        {
            "error": {
                "code": 400,
                "message": message,
                "type": "exceed_context_size_error",
                "n_prompt_tokens": prompt_tokens,
                "n_ctx": call.num_ctx,
            }
        }
    )
