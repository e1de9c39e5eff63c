"""The invariants see what breaks them, and nothing in what does not: each judged on a run made by hand."""

from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

import pytest

from tests.chaos.crew import Frozen
from tests.chaos.evidence import Attempt, Cursor, Evidence, Job
from tests.chaos.invariants import LAG_SECONDS, WAKING_SECONDS, violations
from tests.chaos.model_server import Call
from tests.chaos.producers import Accepted

ADA = UUID(int=100)
JOB = Job(1, UUID(int=1), 1, "done", 2, "small", 30.0, (2,), 5, 20.0)
RESCUED = Attempt(1, 1, 1, "77", "rescued", "worker_lost", 1.0, 18.0)
DONE = Attempt(1, 1, 2, "78", "done", "", 20.0, 30.0)
STALE = Call(1, "small", 2.0, 24.0, whole=False)  # of a process that was frozen from 3 to 23
CALL = Call(1, "small", 21.0, 29.0, whole=True)
GOOD = Evidence(
    accepted=(Accepted(1, JOB.request, ADA, 0.5, "freeze"),),
    jobs=(JOB,),
    attempts=(RESCUED, DONE),
    cursors=(Cursor(ADA, told=5, waiting=0, events=5),),
    calls=(STALE, CALL),
    frozen=(Frozen(77, 3.0, 23.0),),
    finished=frozenset({(1, 2)}),
    stranded_slots=0,
    slots=1,
)


def job(**changed: object) -> Evidence:
    return replace(GOOD, jobs=(replace(JOB, **changed),))  # type: ignore[arg-type]


def calls(*found: Call) -> Evidence:
    return replace(GOOD, calls=found)


def test_a_frozen_workers_call_is_not_counted_once_its_job_is_taken_away() -> None:
    assert violations(GOOD) == []


BROKEN: dict[str, tuple[str, Evidence]] = {
    "an accepted row is not there": ("lost", replace(GOOD, jobs=(), attempts=(), finished=frozenset())),
    "an accepted row has no end": ("lost", job(state="running", finished_at=None, results=())),
    "a row that nobody asked for is there": ("lost", replace(GOOD, accepted=())),
    "two results": ("duplicate", job(results=(1, 2))),
    "no result": ("duplicate", job(results=())),
    "the result of an older claim": ("duplicate", job(results=(1,))),
    "two workers whose results were accepted": (
        "duplicate", replace(GOOD, finished=frozenset({(1, 1), (1, 2)}))),
    "a claim that never ended": ("attempt", replace(GOOD, attempts=(DONE,))),
    "an end unlike the last attempt's": (
        "attempt", replace(GOOD, attempts=(RESCUED, replace(DONE, outcome="retried")), finished=frozenset())),
    "a claim before the last one had ended": (
        "attempt", replace(GOOD, attempts=(RESCUED, replace(DONE, claimed_at=17.0)))),
    "a change without an event": ("event", job(events=4)),
    "an end without an event": ("event", job(last_event_at=19.0)),
    "a number without an event": ("event", replace(GOOD, cursors=(Cursor(ADA, 6, 0, 5),))),
    "somebody counted as waiting for ever": ("event", replace(GOOD, cursors=(Cursor(ADA, 5, 1, 5),))),
    "more calls than slots": ("overshoot", calls(CALL, Call(1, "small", 28.0, 29.0, whole=True))),
    "a call that goes on after its process woke": (
        "overshoot", calls(replace(STALE, ended=23.0 + WAKING_SECONDS + LAG_SECONDS + 1.0), CALL)),
    "a dead worker's call, its process never frozen": ("overshoot", replace(GOOD, frozen=())),
    "a slot of nobody": ("stranded", replace(GOOD, stranded_slots=1)),
}  # fmt: skip


@pytest.mark.parametrize(("rule", "evidence"), BROKEN.values(), ids=BROKEN.keys())
def test_it_is_seen(rule: str, evidence: Evidence) -> None:
    assert rule in {found.rule for found in violations(evidence)}


def test_a_model_has_slots_of_its_own() -> None:
    other = replace(CALL, model="large")
    assert violations(calls(CALL, other)) == []


def test_a_call_whose_client_left_ends_a_moment_before_it_is_noticed() -> None:
    left: Callable[[float], Call] = lambda ended: Call(1, "small", 20.0, ended, whole=False)  # noqa: E731
    assert violations(calls(left(21.0 + LAG_SECONDS), CALL)) == []
    assert violations(calls(left(21.1 + LAG_SECONDS), CALL)) != []
