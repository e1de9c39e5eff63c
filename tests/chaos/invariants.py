"""What must hold after any fault, judged from the evidence alone. Each rule yields what breaks it.

Overshoot is measured at the model server. A call counts from its begin to its end, except while two things
hold: its process is stopped by SIGSTOP, and so cannot close it, and the database has taken the job away. Then
the lease is over and the slot is another's. Soon after the process has woken the call counts again.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tests.chaos.evidence import Attempt, Evidence
from tests.chaos.model_server import Call

T = TypeVar("T")
K = TypeVar("K")

FINAL = ("done", "failed")  # nobody cancels here
LEAP = 1_000_000  # private.begin_incarnation(): its epochs begin at a multiple
WAKING_SECONDS = 3.0  # from SIGCONT until a worker has heard that its lease is lost, and has closed its calls
LAG_SECONDS = 0.25  # until the model server has seen that a client has left


@dataclass(frozen=True, slots=True)
class Violation:
    """`mark` is the request's; `at` is when, where that is known, in seconds since the epoch."""

    rule: str
    text: str
    mark: int = 0
    at: float | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """A call counts from then to then."""

    mark: int
    began: float
    ended: float


def violations(evidence: Evidence) -> list[Violation]:
    return [found for rule in RULES for found in rule(evidence)]


def lost(evidence: Evidence) -> Iterator[Violation]:
    """Every accepted row is there and has come to one end; nothing else is there."""
    known = {job.request: job for job in evidence.jobs}
    for row in evidence.accepted:
        job = known.pop(row.request, None)
        if job is None:
            yield Violation("lost", "accepted, and not in the database", row.mark, row.at)
        elif job.state not in FINAL or job.finished_at is None:
            yield Violation("lost", f"accepted, and still {job.state}", row.mark, row.at)
    for job in known.values():
        yield Violation("lost", "in the database, and never accepted", job.mark)
    for mark, times in Counter(row.mark for row in evidence.accepted).items():
        if times > 1:
            yield Violation("lost", f"accepted {times} times", mark)


def duplicate(evidence: Evidence) -> Iterator[Violation]:
    """One result where it is done, of the newest claim, and accepted from nobody else."""
    told: defaultdict[int, set[int]] = defaultdict(set)
    for job_id, epoch in evidence.finished:
        told[job_id].add(epoch)
    for attempt in evidence.attempts:
        if attempt.outcome == "done":
            told[attempt.job_id].add(attempt.epoch)
    for job in evidence.jobs:
        expected = [job.epoch] if job.state == "done" else []
        if list(job.results) != expected or sorted(told[job.id]) != expected:
            text = f"{job.state} with {job.epoch}: results {job.results}, accepted {sorted(told[job.id])}"
            yield Violation("duplicate", text, job.mark, job.finished_at)


def attempt(evidence: Evidence) -> Iterator[Violation]:
    """Each claim has ended once, in the order of the epochs, the last one as the job did. An epoch follows
    the one before it, or is the first of an incarnation, which Postgres begins after a crash."""
    ended = _by(evidence.attempts, lambda each: each.job_id)
    for job in evidence.jobs:
        own = ended.get(job.id, [])
        epochs = [each.epoch for each in own]
        follows = all(two == one + 1 or two % LEAP == 0 for one, two in itertools.pairwise([0, *epochs]))
        if not follows or epochs != sorted(set(epochs)) or (epochs or [0])[-1] != job.epoch:
            text = f"claimed up to epoch {job.epoch}, but attempts {epochs}"
            yield Violation("attempt", text, job.mark, job.finished_at)
        elif own and job.state in FINAL and own[-1].outcome != job.state:
            text = f"{job.state}, but its last attempt {own[-1].outcome}"
            yield Violation("attempt", text, job.mark, job.finished_at)
        for one, next_one in itertools.pairwise(own):
            if next_one.claimed_at < one.ended_at:
                text = f"claim {next_one.epoch} began before {one.epoch} had ended"
                yield Violation("attempt", text, job.mark, next_one.claimed_at)


def event(evidence: Evidence) -> Iterator[Violation]:
    """Every change of state is in its owner's log, the final one last; no number is missing."""
    last_claims = {each.job_id: each.claimed_at for each in evidence.attempts}
    claims = Counter(each.job_id for each in evidence.attempts)
    for job in evidence.jobs:
        if job.events < 1 + 2 * claims[job.id]:
            text = f"{job.events} events of {claims[job.id]} claims"
            yield Violation("event", text, job.mark, job.finished_at)
        elif job.state in FINAL and (job.last_event_at or 0.0) < last_claims.get(job.id, 0.0):
            yield Violation("event", "its end is not in the log", job.mark, job.finished_at)
    for cursor in evidence.cursors:
        if cursor.told != cursor.events:
            yield Violation("event", f"{cursor.owner}: {cursor.told} numbers, {cursor.events} events")
        if cursor.waiting:
            yield Violation("event", f"{cursor.owner}: {cursor.waiting} counted as waiting, and none is")


def overshoot(evidence: Evidence) -> Iterator[Violation]:
    """No model has more calls at a time than slots. Jobs may be more: a slot is free again when its call has
    ended, and the result is still to be written."""
    attempts = _by(evidence.attempts, lambda each: each.mark)
    for model, calls in _by(evidence.calls, lambda call: call.model).items():
        spans = [span for call in calls for span in _counted(call, attempts.get(call.mark, []), evidence)]
        yield from _exceeding(spans, evidence.slots, f"calls of {model}")


def stranded(evidence: Evidence) -> Iterator[Violation]:
    """No slot is leased to a worker that is gone."""
    if evidence.stranded_slots:
        yield Violation("stranded", f"{evidence.stranded_slots} slots belong to workers that are gone")


RULES: tuple[Callable[[Evidence], Iterator[Violation]], ...] = (
    lost, duplicate, attempt, event, overshoot, stranded,
)  # fmt: skip


def _counted(call: Call, attempts: Sequence[Attempt], evidence: Evidence) -> Iterator[Span]:
    """When the call took a slot."""
    end = call.ended if call.whole else call.ended - LAG_SECONDS
    owner = _owner(call, attempts)
    woke = None if owner is None else _woke(owner, evidence)
    if owner is None or woke is None:
        yield Span(call.mark, call.began, end)
        return
    yield Span(call.mark, call.began, min(end, owner.ended_at))
    yield Span(call.mark, woke + WAKING_SECONDS, end)


def _owner(call: Call, attempts: Sequence[Attempt]) -> Attempt | None:
    """The attempt that made the call: the last one that began before it."""
    return next((each for each in reversed(attempts) if each.claimed_at <= call.began), None)


def _woke(attempt: Attempt, evidence: Evidence) -> float | None:
    """When its process woke, if it was frozen as it was thought dead."""
    if not attempt.was_rescued:
        return None
    frozen = (each for each in evidence.frozen if str(each.pid) == attempt.pid)
    return next((each.until for each in frozen if each.since <= attempt.ended_at <= each.until), None)


def _exceeding(spans: Sequence[Span], limit: int, what: str) -> Iterator[Violation]:
    """Each begin at which there were too many. An end at the same moment comes first."""
    steps = [(span.began, 1, span.mark) for span in spans if span.began < span.ended]
    steps += [(span.ended, -1, span.mark) for span in spans if span.began < span.ended]
    running = 0
    for moment, step, mark in sorted(steps):
        running += step
        if step > 0 and running > limit:
            yield Violation("overshoot", f"{running} {what}, {limit} slots", mark, moment)


def _by(things: Sequence[T], key: Callable[[T], K]) -> Mapping[K, list[T]]:
    found: defaultdict[K, list[T]] = defaultdict(list)
    for thing in things:
        found[key(thing)].append(thing)
    return found
