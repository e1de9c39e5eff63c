"""What becomes of a job after its attempt, and that it is written whatever the database does."""

import asyncio

import pytest

from chassis.database import pool
from listener import outcomes
from listener.errors import CapacityError, PermanentError, TransientError
from listener.outcomes import Again, Done, Failed, HandedBack, decide, jitter
from listener.tasks.request import Result
from tests.fix_work import Desk

CUT = """
select pg_terminate_backend(pid) from pg_stat_activity
 where application_name = 'cut-me' and wait_event_type = 'Lock'
"""
DONE = Done(Result("Short.", {}, {}))


def test_a_passing_fault_is_tried_again_and_counted() -> None:
    outcome = decide(TransientError("model_failed", "."), attempts=1, max_attempts=3, refusals=0)
    assert isinstance(outcome, Again)
    assert outcome.counted


def test_a_passing_fault_fails_for_good_at_the_last_attempt_and_says_how_often_it_was_tried() -> None:
    error = TransientError("model_failed", "The model server failed. Fine; it is tried again by itself.")
    outcome = decide(error, attempts=3, max_attempts=3, refusals=0)
    message = "The model server failed. Fine; it was tried 3 times. Try it later."
    assert outcome == Failed("model_failed", message)


def test_a_busy_server_costs_no_attempt_however_often() -> None:
    outcome = decide(CapacityError("model_busy", "."), attempts=99, max_attempts=3, refusals=20)
    assert isinstance(outcome, Again)
    assert not outcome.counted


def test_what_cannot_pass_fails_at_once() -> None:
    outcome = decide(PermanentError("input_too_long", "Split it."), attempts=1, max_attempts=3, refusals=0)
    assert outcome == Failed("input_too_long", "Split it.")


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
