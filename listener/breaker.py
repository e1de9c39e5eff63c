"""When a model server is left alone: not called for a while once call after call fails, then by one call at a
time until one succeeds.

Decisions only; knows no clock and no server. Each process decides by its own calls: what lies between one
worker and a server need not lie between another and the same server, and three failed calls are soon made.
"""

import random
from dataclasses import dataclass
from typing import Literal

from listener.errors import CapacityError, TaskError, TransientError

FAILURES_IN_A_ROW = 3
OPEN_SECONDS = 2.0
OPEN_CAP_SECONDS = 60.0
# What passes, but is no fault of the server's: a mistake of ours, or what its model made of one text.
NOT_THE_SERVERS = frozenset({"internal", "answer_empty", "answer_loops"})

State = Literal["closed", "half_open", "open"]
# unknown: the server was not asked, or was not given the time to answer, or refused what no server can do.
Verdict = Literal["answered", "failed", "busy", "unknown"]


@dataclass(slots=True)
class Breaker:
    """`begin` and `end` each use of the server; `half_open` when the time that `end` said is over."""

    state: State = "closed"
    # How often it has opened. A use that began before the last time tells nothing new, and is not listened
    # to: eight calls that fail together open it once.
    turn: int = 0
    _failures: int = 0  # in a row
    _openings: int = 0  # since a success
    _probing: bool = False

    @property
    def admits(self) -> bool:
        """Whether the server may be used now."""
        return self.state == "closed" or (self.state == "half_open" and not self._probing)

    def begin(self) -> int:
        """It is used from now on; what `end` needs to know."""
        self._probing = self.state == "half_open"
        return self.turn

    def end(self, turn: int, verdict: Verdict) -> float | None:
        """A use that began in this turn has shown this; for how many seconds to be open now, if it is."""
        if turn != self.turn or self.state == "open":
            return None
        probed, self._probing = self._probing, False
        if verdict == "answered":
            self.state, self._failures, self._openings = "closed", 0, 0
        elif verdict != "unknown":
            self._failures += 1
            if verdict == "busy" or probed or self._failures >= FAILURES_IN_A_ROW:
                return self._open()
        return None

    def half_open(self, turn: int) -> bool:
        """The time of this turn is over; whether that changes anything."""
        if self.state != "open" or turn != self.turn:
            return False
        self.state = "half_open"
        return True

    def _open(self) -> float:
        self.turn += 1
        self._openings += 1
        self._failures, self.state = 0, "open"
        return jitter(self._openings)


def judge(error: TaskError) -> Verdict:
    """What an attempt that ended so says of the server. What is the request's own says nothing."""
    if isinstance(error, CapacityError):
        return "busy"
    if isinstance(error, TransientError) and error.code not in NOT_THE_SERVERS:
        return "failed"
    return "unknown"


def jitter(openings: int) -> float:
    """Seconds to stay open the n-th time in a row: random below a ceiling that doubles up to a minute."""
    ceiling = min(OPEN_CAP_SECONDS, OPEN_SECONDS * 2 ** min(openings - 1, 30))
    return random.uniform(0, ceiling)  # noqa: S311 (spreads load, guards nothing)
