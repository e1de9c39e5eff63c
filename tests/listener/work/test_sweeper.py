"""What is to be swept is swept in time, by a whole worker."""

import pytest

from tests.fix_work import Desk
from tests.listener.model.small_server import serving

pytestmark = pytest.mark.services

QUICK = "Short."  # is its own summary: no model call
DONE = "select from private.job where request_id = %s and state = 'done'"
LATE = (
    "select extract(epoch from claimed_at - %s::timestamptz)::float8 from private.job where request_id = %s"
)


async def test_a_scheduled_request_starts_when_its_time_has_come(desk: Desk) -> None:
    async with serving("one:latest") as server, desk.working(server.url):
        ((due,),) = desk.query("select now() + interval '3 s'")
        request = desk.ask(desk.person(), QUICK, run_at=due)
        await desk.until(DONE, request)
    ((late,),) = desk.query(LATE, due, request)
    assert 0 <= late < 1


async def test_a_job_whose_worker_never_comes_back_is_taken_over(desk: Desk) -> None:
    model = await desk.model("one:latest", slots=1)
    dead = await desk.worker(model)
    request = desk.ask(desk.person(), QUICK)
    await dead.claim_one(model)
    async with serving("one:latest") as server, desk.working(server.url):
        await desk.until(DONE, request, within=30)
    assert desk.query("select from private.worker") == []


async def test_a_job_whose_task_does_not_end_is_taken_from_it_and_run_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "listener.work.worker.MARGIN_SECONDS", -29.0
    )  # long before the task itself would give up
    async with serving("one:latest") as server, desk.working(server.url, first_token_seconds=60.0):
        server.open.clear()
        request = desk.ask(desk.person())
        await desk.until("select from private.job where request_id = %s and epoch = 2", request)
        server.open.set()
        await desk.until(DONE, request)
    ended = "select outcome, error_code from private.attempt where request_id = %s and epoch = 1"
    assert desk.query(ended, request) == [("retried", "deadline_exceeded")]


async def test_a_jump_of_the_servers_clock_by_an_hour_takes_no_job_and_charges_no_attempt(desk: Desk) -> None:
    """The times that were stored before it are an hour old."""
    patient = {"first_token_seconds": 60.0}
    async with serving("one:latest") as server:
        server.open.clear()
        async with desk.working(server.url, **patient), desk.working(server.url, **patient):
            request = desk.ask(desk.person())
            await desk.until("select from private.job where request_id = %s and state = 'running'", request)
            desk.query(JUMP_OF_JOBS)
            rows = desk.query(JUMP_OF_WORKERS)
            # Both have looked at each other and at all jobs since, more than once.
            counted = 3 + max(row[0] for row in rows)
            await desk.until("select 1 from private.worker having min(renewals) >= %s", counted)
            assert desk.query("select epoch, attempts from private.job") == [(1, 1)]
            server.open.set()
            await desk.until(DONE, request)


JUMP_OF_JOBS = """
update private.job
   set claimed_at = claimed_at - interval '1 hour', updated_at = updated_at - interval '1 hour',
       deadline_at = deadline_at - interval '1 hour' returning id"""
JUMP_OF_WORKERS = """
update private.worker set lease_until = lease_until - interval '1 hour' returning renewals"""


# Far below where the clock is after the first of them.
BELOW = """
    update private.job j set tag = -1000000 from private.model m
     where j.request_id = %s and m.id = j.model_id and setval(m.clock, 1000000) > 0 returning j.id"""


async def test_a_job_that_was_left_behind_is_run_while_others_abound(desk: Desk) -> None:
    """Claims that find all they ask for do not look so far down."""
    async with serving("one:latest") as server, desk.working(server.url, slots_per_model=1):
        server.open.clear()
        first, behind = desk.ask(desk.person()), desk.ask(desk.person())
        await desk.until("select from private.job where request_id = %s and state = 'running'", first)
        desk.ask_many(desk.person(), 200)
        desk.query(BELOW, behind)
        server.open.set()
        await desk.until("select from private.job where request_id = %s and claimed_at is not null", behind)
        ((waiting,),) = desk.query("select count(*) from private.job where state = 'ready'")
        assert waiting > 0


async def test_text_left_behind_is_pruned(desk: Desk) -> None:
    desk.query(
        "insert into private.partial (request_id, epoch, n, owner, text)"
        " values (gen_random_uuid(), 1, 0, %s, 'x') returning n",
        desk.person(),
    )
    async with serving("one:latest") as server, desk.working(server.url):
        await desk.until("select 1 where not exists (select from private.partial)")
