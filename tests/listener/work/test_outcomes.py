"""What becomes of a job after its attempt, and that it is written whatever the database does."""

import asyncio

import pytest

from chassis.database import pool
from listener.errors import CapacityError, PermanentError, TaskError, TransientError
from listener.tasks.request import Result
from listener.work import outcomes
from listener.work.outcomes import Again, Done, Failed, HandedBack, decide, jitter, spoken
from tests.fix_work import Desk

CUT = """
select pg_terminate_backend(pid) from pg_stat_activity
 where application_name = 'cut-me' and wait_event_type = 'Lock'
"""
DONE = Done(Result("Short.", {}, {}))


def decided(
    error: TaskError, *, attempts: int = 1, refusals: int = 0, tried_seconds: float = 0.0
) -> Failed | Again:
    """With three attempts and an hour."""
    return decide(
        error,
        attempts=attempts,
        max_attempts=3,
        refusals=refusals,
        tried_seconds=tried_seconds,
        budget_seconds=3600.0,
    )


def test_a_passing_fault_is_tried_again_and_counted() -> None:
    outcome = decided(TransientError("model_failed", "."))
    assert isinstance(outcome, Again)
    assert outcome.counted


def test_a_passing_fault_fails_for_good_at_the_last_attempt_and_says_how_often_it_was_tried() -> None:
    error = TransientError("model_failed", "The model server failed. Fine; it is tried again by itself.")
    outcome = decided(error, attempts=3)
    message = "The model server failed. Fine; it was tried 3 times. Try it later."
    assert outcome == Failed("model_failed", message)


def test_a_busy_server_costs_no_attempt_however_often() -> None:
    outcome = decided(CapacityError("model_busy", "."), attempts=99, refusals=20)
    assert isinstance(outcome, Again)
    assert not outcome.counted


def test_a_busy_server_is_not_asked_before_it_wishes() -> None:
    error = CapacityError("model_busy", ".", retry_after_seconds=90.0)
    outcome = decided(error, refusals=1)
    assert isinstance(outcome, Again)
    assert (outcome.seconds, outcome.counted) == (90.0, False)


def test_what_cannot_pass_fails_at_once() -> None:
    outcome = decided(PermanentError("input_too_long", "Split it."), tried_seconds=9999.0)
    assert outcome == Failed("input_too_long", "Split it.")


@pytest.mark.parametrize("kind", [TransientError, CapacityError])
def test_whatever_may_pass_fails_for_good_when_its_time_is_used_up(kind: type[TaskError]) -> None:
    error = kind("model_busy", "Nothing is wrong; it is tried again by itself.")
    outcome = decided(error, tried_seconds=3601.0)
    assert outcome == Failed("model_busy", "Nothing is wrong; it was tried for 60 minutes. Try it later.")


@pytest.mark.parametrize("error", [TransientError("x", "."), CapacityError("x", ".")], ids=["fault", "busy"])
def test_no_wait_reaches_beyond_the_end_of_the_time(error: TaskError) -> None:
    many = [decided(error, attempts=2, refusals=9, tried_seconds=3599.9) for _ in range(100)]
    assert max(outcome.seconds for outcome in many if isinstance(outcome, Again)) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "2 seconds"), (119.4, "119 seconds"), (120, "2 minutes"), (3600, "60 minutes"), (7200, "2 hours")],
)
def test_a_length_of_time_is_told_in_words(seconds: float, words: str) -> None:
    assert spoken(seconds) == words


def test_the_wait_is_random_below_a_ceiling_that_doubles_up_to_a_minute() -> None:
    for tries, ceiling in ((1, 1), (3, 4), (6, 32), (7, 60), (10_000, 60)):
        waits = [jitter(tries) for _ in range(500)]
        assert ceiling * 0.9 < max(waits) <= ceiling
        assert min(waits) < ceiling * 0.1


@pytest.mark.services
@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (DONE, "done"),
        (Failed("x", "y"), "failed"),
        (Again("x", "y", 9.0, True), "ready"),
        (HandedBack(), "ready"),
    ],
    ids=["done", "failed", "again", "handed back"],
)
async def test_an_outcome_reaches_the_database_once(
    desk: Desk, outcome: outcomes.Outcome, state: str
) -> None:
    model = await desk.model()
    worker = await desk.worker(model)
    request = desk.ask(desk.person())
    job = await worker.claim_one(model)
    async with pool(desk.database.url("listener"), name="test", size=1) as statements:
        assert await outcomes.write(statements, job, outcome)
        assert desk.job(request)["state"] == state
        assert await outcomes.write(statements, job, outcome) == (outcome is DONE)


@pytest.mark.services
async def test_an_outcome_is_written_although_its_connection_is_cut(desk: Desk) -> None:
    model = await desk.model()
    worker = await desk.worker(model)
    person = desk.person()
    request = desk.ask(person)
    job = await worker.claim_one(model)
    async with pool(desk.database.url("listener"), name="cut-me", size=1) as statements:
        with desk.database.connect() as holder:
            with holder.transaction():
                holder.execute("select from private.event_cursor where owner = %s for update", [person])
                writing = asyncio.create_task(outcomes.write(statements, job, DONE))
                await desk.until(CUT)
            assert await writing
    assert desk.job(request)["state"] == "done"
