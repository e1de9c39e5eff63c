"""What is to be swept is swept in time, by a whole worker."""

import pytest

from tests.fix_work import Desk
from tests.listener.small_server import serving

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
    desk.expire(dead)
    async with serving("one:latest") as server, desk.working(server.url):
        await desk.until(DONE, request, within=30)
    assert desk.query("select from private.worker") == []


async def test_a_job_that_hangs_past_its_deadline_is_run_again(desk: Desk) -> None:
    async with serving("one:latest") as server, desk.working(server.url, first_token_seconds=60.0):
        server.open.clear()
        request = desk.ask(desk.person())
        await desk.until("select from private.job where request_id = %s and state = 'running'", request)
        desk.query("update private.job set deadline_at = now() returning id")
        await desk.until("select from private.job where request_id = %s and epoch = 2", request)
        server.open.set()
        await desk.until(DONE, request)


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
