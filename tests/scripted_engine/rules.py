"""The rules of an engine that misbehaves: a test writes them into a file, the engine reads it at each call.

Knows no wire."""

import contextlib
import itertools
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

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
    "repeat_loop",
    "slow_drip",
]


@dataclass(frozen=True, slots=True)
class Rule:
    """A fault of the next `times` calls, None for all; `seconds` is how long it holds up, if it does."""

    id: int  # how often a rule was applied is remembered by it: the same fault written again is another rule
    fault: Fault
    times: int | None = None
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.fault not in get_args(Fault):
            raise ValueError(f"there is no fault {self.fault!r}")


@dataclass
class RuleFile:
    """The test's side: writes the rules into the file."""

    file: Path
    ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.write()

    def write(self, *rules: Mapping[str, Any]) -> None:
        """These rules, and none of before. Raises TypeError and ValueError for what is no rule."""
        entries = [asdict(Rule(next(self.ids), **rule)) for rule in rules]
        fresh = self.file.with_suffix(".new")
        fresh.write_text(json.dumps(entries))
        fresh.replace(self.file)  # the engine never reads half of it

    @contextlib.contextmanager
    def in_force(self, *rules: Mapping[str, Any]) -> Iterator[None]:
        """These rules until the end of the block."""
        self.write(*rules)
        try:
            yield
        finally:
            self.write()


class RuleReader:
    """The engine's side: reads the file, and knows how often each rule has been applied."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._applied: Counter[int] = Counter()

    def left(self) -> list[Rule]:
        """Those that are not used up."""
        rules = [Rule(**entry) for entry in json.loads(self._file.read_text())]
        return [rule for rule in rules if rule.times is None or self._applied[rule.id] < rule.times]

    def apply(self) -> dict[Fault, Rule]:
        """The faults of one more call."""
        rules = self.left()
        self._applied.update(rule.id for rule in rules)
        return {rule.fault: rule for rule in rules}
