"""When a model server is left alone: not called for a while once call after call fails, then by one call at a
time until one succeeds. It takes failures of several requests: one text must not take a server from all.

Decisions only; knows no clock and no server. Each process decides by its own calls: what lies between one
worker and a server need not lie between another and the same server, and a few failed calls are soon made.
"""

from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

from chassis.backoff import full_jitter
from listener.errors import CapacityError, TaskError
from listener.model.rulings import RULINGS

FAILED_REQUESTS = 3  # in a row, each counted once however often it is tried
FAILED_OWNERS = 2  # where a text can have caused it
FAILURES_KEPT = 64
OPEN_SECONDS = 2.0
OPEN_CAP_SECONDS = 60.0

State = Literal["closed", "half_open", "open"]
# down: no text can have caused it. failed: perhaps this one has. unknown: the server was not asked, or was
# not given the time to answer, or what was wrong was not its fault.
Verdict = Literal["answered", "down", "failed", "busy", "unknown"]


@dataclass(frozen=True, slots=True)
class Caller:
    """For whom a server is used."""

    owner: UUID
    request: UUID


@dataclass(frozen=True, slots=True)
class Finding:
    """What a use of a server has shown of it. It may say for how long it wants to be left alone."""

    verdict: Verdict
    rest_seconds: float = 0.0


ANSWERED = Finding("answered")
UNKNOWN = Finding("unknown")


@dataclass(slots=True)
class Breaker:
    """`begin` and `end` each use of the server; `half_open` when the time that `end` said is over."""

    state: State = "closed"
    # How often it has opened. A use that began before the last time tells nothing new, and is not listened
    # to: eight calls that fail together open it once.
    turn: int = 0
    _failures: dict[Caller, Verdict] = field(default_factory=dict)  # since an answer
    _set_aside: set[Caller] = field(default_factory=set)  # in this turn
    _openings: int = 0  # since an answer
    _probing: bool = False

    @property
    def admits(self) -> bool:
        """Whether the server may be used now."""
        return self.state == "closed" or (self.state == "half_open" and not self._probing)

    def prefers_another(self, caller: Caller) -> bool:
        """Whether this one should not be the trial as yet: it has failed, or a text of its owner's may be
        what is wrong. Said once in a turn: should nobody else come, it is let in."""
        if self.state != "half_open" or caller in self._set_aside:
            return False
        if caller not in self._failures and caller.owner not in self._suspects():
            return False
        self._set_aside.add(caller)
        return True

    def begin(self) -> int:
        """It is used from now on; what `end` needs to know."""
        self._probing = self.state == "half_open"
        return self.turn

    def end(self, turn: int, caller: Caller, finding: Finding) -> float | None:
        """A use that began in this turn has shown this; for how many seconds to be open now, if it is."""
        if turn != self.turn or self.state == "open":
            return None
        probed, self._probing = self._probing, False
        if finding.verdict == "answered":
            self.state, self._openings = "closed", 0
            self._failures.clear()
        elif finding.verdict == "busy":
            return self._open(finding.rest_seconds)
        elif finding.verdict != "unknown":
            again = caller in self._failures
            self._note(caller, finding.verdict)
            if probed or self._fails():
                return self._open(finding.rest_seconds, longer=not (probed and again))
        return None

    def half_open(self, turn: int) -> bool:
        """The time of this turn is over; whether that changes anything."""
        if self.state != "open" or turn != self.turn:
            return False
        self.state = "half_open"
        return True

    def _note(self, caller: Caller, verdict: Verdict) -> None:
        self._failures.pop(caller, None)
        self._failures[caller] = verdict
        if len(self._failures) > FAILURES_KEPT:
            del self._failures[next(iter(self._failures))]

    def _fails(self) -> bool:
        if sum(verdict == "down" for verdict in self._failures.values()) >= FAILED_REQUESTS:
            return True
        owners = {caller.owner for caller in self._failures}
        return len(self._failures) >= FAILED_REQUESTS and len(owners) >= FAILED_OWNERS

    def _suspects(self) -> set[UUID]:
        return {caller.owner for caller, verdict in self._failures.items() if verdict == "failed"}

    def _open(self, rest_seconds: float, *, longer: bool = True) -> float:
        """`longer` than the last time, unless this trial has failed before and tells nothing new."""
        self.turn += 1
        self._openings += longer
        self._set_aside.clear()
        self.state = "open"
        return max(rest_seconds, jitter(max(1, self._openings)))


def judge(error: TaskError) -> Finding:
    """What an attempt that ended so says of the server. What is the request's own, or ours, says nothing."""
    if isinstance(error, CapacityError):
        return Finding("busy", error.retry_after_seconds)
    ruling = RULINGS.get(error.code)
    if ruling is None or not ruling.again or ruling.whose not in ("host", "either"):
        return UNKNOWN
    return Finding("down" if ruling.whose == "host" else "failed")


def jitter(openings: int) -> float:
    """Seconds to stay open the n-th time in a row."""
    return full_jitter(openings, base=OPEN_SECONDS, cap=OPEN_CAP_SECONDS)
