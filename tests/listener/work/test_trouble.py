"""Whatever the database answers while a worker runs: it is logged and tried again, and the work gets done."""

import asyncio
import time

import pytest

from listener.tasks.request import Result
from listener.work import outcomes
from listener.work.outcomes import Done
from tests.fix_work import Desk
from tests.listener.model.small_server import SmallServer, serving

pytestmark = pytest.mark.services

# A statement timeout, a lock timeout, a deadlock, a conflict, a full disk, no memory, a standby's two,
# something that is not there, no connections left, a shutdown, a full queue of notices, a broken file, an
# internal error, a right that is missing.
STATES = (
    "57014", "55P03", "40P01", "40001", "53100", "53200", "0A000", "25006", "42P01", "53300", "57P01",
    "54000", "58030", "XX000", "42501",
)  # fmt: skip
HELD_UP_SECONDS = 4.0
COUNT = 3 * len(STATES)
TABLES = ("worker", "job", "slot", "partial", "host", "host_model")
SETUP = """
create sequence private.trouble;
create function private.trouble() returns trigger language plpgsql security definer as $$
declare
  states constant text[] := string_to_array(tg_argv[0], ',');
  n constant bigint := nextval('private.trouble');
begin
  if n <= tg_argv[1]::int then
    raise exception 'injected' using errcode = states[1 + n % cardinality(states)];
  end if;
  return null;
end $$
"""
STARTS = """
create trigger trouble before insert or update or delete on private.{}
  for each statement execute function private.trouble('{}', {})
"""
FAILED = "select from private.job where request_id = %s and state = 'failed'"
DONE = "select from private.job where request_id = %s and state = 'done'"


async def test_no_error_of_the_database_ends_a_worker_or_loses_a_job(desk: Desk) -> None:
    """Each statement of the worker that writes fails, each time in another way, for a while."""
    async with serving("one:latest") as server, desk.working(server.url):
        with desk.database.connect() as connection:
            connection.execute(SETUP)
            server.open.clear()
            request = desk.ask(desk.person())
            await desk.until("select from private.job where request_id = %s and state = 'running'", request)
            for table in TABLES:
                connection.execute(STARTS.format(table, ",".join(STATES), COUNT).encode())
        server.open.set()
        await desk.until("select 1 where pg_sequence_last_value('private.trouble') > %s", COUNT, within=60)
        await desk.until(DONE, request)
        await desk.until(DONE, desk.ask(desk.person()))
    assert desk.query("select count(*) from private.worker") == [(0,)]


async def test_a_request_that_holds_its_worker_up_each_time_ends_with_the_reason(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands for a text that no budget catches: nothing in the process runs while it is worked on."""
    monkeypatch.setattr("listener.work.lease.RENEW_SECONDS", 0.3)
    monkeypatch.setattr("listener.work.lease.UNSEEN_NO_CALLS_SECONDS", HELD_UP_SECONDS / 2)
    monkeypatch.setattr("listener.work.lease.NO_CALLS_SECONDS", HELD_UP_SECONDS / 2)
    async with serving("one:latest") as server, desk.working(server.url, max_attempts=2):
        server.open.clear()
        holding = asyncio.create_task(hold_up(server))
        request = desk.ask(desk.person())
        await desk.until(FAILED, request, within=60)
        holding.cancel()
    job = desk.job(request)
    assert (job["error_code"], job["attempts"]) == ("worker_stalled", 2)
    assert "tried 2 times" in job["error_message"]
    outcomes = "select outcome, error_code from private.attempt where request_id = %s order by epoch"
    assert desk.query(outcomes, request) == [("retried", "worker_stalled"), ("failed", "worker_stalled")]


async def hold_up(server: SmallServer) -> None:
    """Hold the process up as soon as a call is running, each time."""
    while True:
        while not server.running:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        time.sleep(HELD_UP_SECONDS)
        while server.running:
            await asyncio.sleep(0)


async def test_what_the_database_cannot_keep_fails_its_own_request_and_nobody_elses(desk: Desk) -> None:
    async with desk.statements() as pool:
        model = await desk.model()
        worker = await desk.worker(model)
        bad, good = desk.ask_many(desk.person(), 2)
        jobs = {job.request_id: job for job in await worker.claim(model)}
        for request, body in ((bad, "Not\0this."), (good, "This.")):
            assert await outcomes.write(pool, jobs[request], Done(Result(body, {}, {})))
    failed = desk.job(bad)
    assert (failed["state"], failed["error_code"]) == ("failed", "result_refused")
    assert desk.query("select body from private.result") == [("This.",)]
