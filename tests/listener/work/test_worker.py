"""The whole worker in this process, on a real database: picks up, runs, stops what is cancelled, loses no
wake-up."""

import asyncio
import random
import time
from uuid import UUID

import pytest

from tests.fix_engine import ModelServer
from tests.fix_work import TEXT, Desk
from tests.listener.model.small_server import SENTENCE, is_running, serving
from tests.listener.tasks.script import sentences
from tests.sql.acting import acting, ask

pytestmark = pytest.mark.services

ENDED = """
select state, error_code, attempts, epoch from private.job
 where request_id = %s and state in ('done', 'failed')
"""
HOLDS_BOTH = """
select 1 from private.slot s join private.worker w on w.id = s.worker_id group by w.id having count(*) = 2
"""
CUT = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = %s and datname = %s"
STORED = "select body, checks, engine, epoch from private.result where request_id = %s"

# In this database: clones of one template share the table's number, and others here have workers too.
HUNGRY = """
select from pg_locks l join pg_database d on d.oid = l.database and d.datname = current_database()
 where l.relation = 'private.bell'::regclass and l.mode = 'ShareLock'"""
TWO_WAIT_FOR_RESULTS = """
select 1 from pg_locks l join pg_database d on d.oid = l.database and d.datname = current_database()
 where l.relation = 'private.result'::regclass and not l.granted having count(*) = 2"""
PREVIEW_WAITS = """
select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
   and query like '%%insert into private.partial%%'"""
QUICK = "Short."  # is its own summary: no model call


async def test_a_request_is_claimed_run_and_stored_with_its_checks(
    desk: Desk, model_server: ModelServer
) -> None:
    person = desk.person()
    async with desk.working(model_server.url):
        request = desk.ask(person, target_words=30)
        assert (await desk.until(ENDED, request))[:2] == ("done", None)
    ((body, checks, engine, _),) = desk.query(STORED, request)
    assert body.endswith(".")
    assert checks["length"]["words"] < 50
    assert (engine["engine"], engine["model"]) == ("extractive", "extractive:latest")


async def test_the_text_so_far_is_written_while_it_runs_and_gone_at_the_end(
    desk: Desk, model_server: ModelServer
) -> None:
    person = desk.person()
    with model_server.faults({"fault": "slow_drip", "seconds": 0.3}):
        async with desk.working(model_server.url):
            request = desk.ask(person, sentences(40), target_words=200)
            await desk.until("select from private.partial where request_id = %s and n >= 1", request)
            await desk.until("select from private.job where request_id = %s and progress > 0", request)
            await desk.until(ENDED, request)
    assert desk.query("select from private.partial") == []


@pytest.mark.parametrize("how", ["cancel", "delete"])
async def test_the_model_call_of_a_request_that_is_withdrawn_is_closed_within_a_moment(
    desk: Desk, how: str
) -> None:
    async with serving("one:latest") as server, desk.working(server.url, slots_per_model=1):
        server.open.clear()
        person = desk.person()
        request = desk.ask(person)
        await is_running(server, 1)
        at = time.monotonic()
        with acting(desk.database, person) as connection:
            if how == "cancel":
                connection.execute("select from public.cancel(%s)", [request])
            else:
                connection.execute("delete from public.requests where id = %s", [request])
        await is_running(server, 0)
        assert time.monotonic() - at < 1
        assert server.closed == 1
        server.open.set()
        await desk.until(ENDED, desk.ask(person))  # its slot is free again


async def test_no_more_calls_run_at_once_than_there_are_slots(desk: Desk) -> None:
    async with serving("one:latest") as server, desk.working(server.url), desk.working(server.url):
        server.open.clear()
        person = desk.person()
        requests = desk.ask_many(person, 8)
        await is_running(server, 2)
        server.open.set()
        for request in requests:
            await desk.until(ENDED, request)
    assert (server.calls, server.most) == (
        16,
        2,
    )  # each answer of one sentence is too short and asked for again


async def test_a_slot_takes_its_next_job_while_the_last_ones_outcome_is_being_written(desk: Desk) -> None:
    async with serving("one:latest") as server, desk.working(server.url, slots_per_model=1):
        server.open.clear()
        request = desk.ask(desk.person())
        await is_running(server, 1)
        with desk.database.connect() as somebody, somebody.transaction():
            somebody.execute("select from private.job where request_id = %s for update", [request])
            server.open.set()
            await desk.until(ENDED, desk.ask(desk.person()))
        await desk.until(ENDED, request)


async def test_a_preview_that_waits_for_somebodys_lock_keeps_no_result_waiting(
    desk: Desk, model_server: ModelServer
) -> None:
    with model_server.faults({"fault": "slow_drip", "seconds": 0.3}):
        async with desk.working(model_server.url):
            request = desk.ask(desk.person(), sentences(40), target_words=200)
            await desk.until("select from private.partial where request_id = %s", request)
            with desk.database.connect() as somebody, somebody.transaction():
                somebody.execute("select from private.job where request_id = %s for update", [request])
                await desk.until(PREVIEW_WAITS)
                await desk.until(ENDED, desk.ask(desk.person(), QUICK), within=5)


async def test_results_that_cannot_be_written_do_not_pile_up(desk: Desk) -> None:
    async with serving("one:latest") as server, desk.working(server.url, slots_per_model=1):
        with desk.database.connect() as somebody, somebody.transaction():
            somebody.execute("lock table private.result in share mode")
            requests = desk.ask_many(desk.person(), 3)
            await desk.until(TWO_WAIT_FOR_RESULTS)
            (renewed,) = await desk.until("select lease_until from private.worker")
            await desk.until("select 1 from private.worker where lease_until > %s", renewed)
            assert desk.job(requests[2])["state"] == "ready"
        for request in requests:
            await desk.until(ENDED, request)


async def test_a_withdrawn_slot_limit_is_shared_and_the_second_worker_takes_over(desk: Desk) -> None:
    async with serving("one:latest") as server, desk.working(server.url):
        async with desk.working(server.url):
            shared = "select 1 from private.slot group by model_id having count(distinct worker_id) = 2"
            await desk.until(shared)
        await desk.until(HOLDS_BOTH)
        await desk.until(ENDED, desk.ask(desk.person()))


async def test_a_stop_lets_short_work_end_and_takes_no_new(desk: Desk) -> None:
    async with serving("one:latest") as server:
        async with desk.working(server.url, drain_seconds=10.0) as lifecycle:
            server.open.clear()
            request = desk.ask(desk.person())
            await is_running(server, 1)
            lifecycle.stopping.set()
            await desk.until("select from private.worker where draining")
            late = desk.ask(desk.person())
            server.open.set()
        assert (desk.job(request)["state"], desk.job(late)["state"]) == ("done", "ready")
    assert desk.query("select id from private.worker") == []


async def test_a_stop_hands_long_work_back_at_the_front_without_charging_it(desk: Desk) -> None:
    async with serving("one:latest") as server:
        async with desk.working(server.url, drain_seconds=0.1, slots_per_model=1):
            server.open.clear()
            first, *_ = desk.ask_many(desk.person(), 3)
            await is_running(server, 1)
        job = desk.job(first)
        assert (job["state"], job["attempts"], job["run_at"]) == ("ready", 0, None)
        server.open.set()
        async with desk.working(server.url, slots_per_model=1):
            await desk.until(ENDED, first)
    order = desk.query("select request_id from private.job order by claimed_at")
    assert order[0] == (first,)


async def test_a_passing_fault_is_tried_again_and_a_lasting_one_ends_with_a_sentence(
    desk: Desk, model_server: ModelServer
) -> None:
    async with desk.working(model_server.url):
        with model_server.faults({"fault": "no_done", "times": 1}):
            assert await desk.until(ENDED, desk.ask(desk.person())) == ("done", None, 2, 2)
        with model_server.faults({"fault": "error_400_nested"}):
            failed = desk.ask(desk.person())
            assert (await desk.until(ENDED, failed))[:3] == ("failed", "input_too_long", 1)
    assert "Choose a model with a longer context" in desk.job(failed)["error_message"]


async def test_a_busy_model_server_costs_no_attempt(desk: Desk, model_server: ModelServer) -> None:
    async with desk.working(model_server.url):
        with model_server.faults({"fault": "error_503", "times": 2}):
            assert (await desk.until(ENDED, desk.ask(desk.person())))[2:] == (1, 3)


async def test_a_job_that_keeps_failing_ends_when_its_time_is_used_up(
    desk: Desk, model_server: ModelServer
) -> None:
    async with desk.working(model_server.url, budget_seconds=1.5, max_attempts=99):
        with model_server.faults({"fault": "error_503"}):
            request = desk.ask(desk.person())
            assert (await desk.until(ENDED, request, within=15))[:2] == ("failed", "model_busy")
    assert "it was tried for" in desk.job(request)["error_message"]


async def test_a_text_that_does_not_fit_fails_at_once(desk: Desk) -> None:
    async with serving("one:latest") as server, desk.working(server.url):
        request = desk.ask(desk.person(), TEXT * 100)
        assert (await desk.until(ENDED, request))[:3] == ("failed", "input_too_long", 1)
    assert server.calls == 0


async def test_jobs_wait_for_a_model_server_that_is_away_and_run_when_it_is_back(
    desk: Desk, own_model_server: ModelServer
) -> None:
    own_model_server.part.stop()
    desk.query("select 1")
    running = desk.working(own_model_server.url)
    own_model_server.part.start()
    own_model_server.part.wait_ready()
    async with running:
        own_model_server.part.stop()
        requests = desk.ask_many(desk.person(), 5)
        await desk.until("select from private.job where attempts = 1 and state = 'ready'")
        await desk.until("select from public.models where not available")
        own_model_server.part.start()
        for request in requests:
            state, _, attempts, _ = await desk.until(ENDED, request)
            assert (state, attempts <= 2) == ("done", True)
        await desk.until("select from public.models where available")


async def test_a_job_whose_claim_got_lost_on_the_way_is_handed_back(desk: Desk) -> None:
    async with serving("one:latest") as server, desk.working(server.url):
        desk.query("update private.model set paused_at = now() returning id")
        request = desk.ask(desk.person())
        desk.query(
            "update private.job set state = 'running', epoch = 1, attempts = 1,"
            " worker_id = (select id from private.worker) where request_id = %s returning id", request,
        )  # fmt: skip
        await desk.until(
            "select from private.job where request_id = %s and state = 'ready' and attempts = 0", request
        )


@pytest.mark.parametrize(
    "line",
    [
        "precis-work-notices",
        "precis-work-bell",
        "precis-work-claims",
        "precis-work-lease",
        "precis-work-results",
    ],
)
async def test_a_cut_connection_is_replaced_and_no_job_waits_for_the_poll(desk: Desk, line: str) -> None:
    async with serving("one:latest") as server, desk.working(server.url):
        for _ in range(3):
            await desk.until(CUT, line, desk.database.name)
            request = desk.ask(desk.person(), QUICK)
            await desk.until(ENDED, request, within=4)
    assert desk.query("select max(attempts) from private.job") == [(1,)]


async def test_a_paused_model_resumes_when_told(desk: Desk) -> None:
    async with serving("one:latest") as server, desk.working(server.url):
        desk.query("update private.model set paused_at = now() returning id")
        request = desk.ask(desk.person(), QUICK)
        desk.query(
            "update private.model set paused_at = null returning pg_notify('precis_control', 'models')"
        )
        await desk.until(ENDED, request, within=4)


def insert(desk: Desk, person: UUID, model: str, hold_seconds: float) -> tuple[UUID, float]:
    """A request whose transaction stays open for a while; when it was committed."""
    with acting(desk.database, person) as connection:
        with connection.transaction():
            request = ask(connection, text=QUICK, model=model)
            connection.execute("select pg_sleep(%s)", [hold_seconds])
        return request, time.time()


async def test_no_wake_up_is_lost_by_two_workers_with_different_models_and_slow_inserts(desk: Desk) -> None:
    people = [desk.person() for _ in range(4)]
    chance = random.Random(7)

    async def produce(person: UUID) -> list[tuple[UUID, float]]:
        made = []
        for _ in range(40):
            await asyncio.sleep(
                chance.uniform(0, 0.006) if chance.random() < 0.5 else chance.uniform(0, 0.06)
            )
            model = chance.choice(["one:latest", "two:latest"])
            hold = chance.uniform(0, 0.03) if chance.random() < 0.3 else 0.0
            made.append(await asyncio.to_thread(insert, desk, person, model, hold))
        return made

    async with (
        serving("one:latest") as one,
        serving("two:latest") as two,
        desk.working(one.url, slots_per_model=20),
        desk.working(two.url, slots_per_model=20),
    ):
        made = [row for rows in await asyncio.gather(*map(produce, people)) for row in rows]
        await desk.until("select 1 where not exists (select from private.job where state <> 'done')")
    claimed = dict(desk.query("select request_id, extract(epoch from claimed_at)::float8 from private.job"))
    waits = [claimed[request] - committed for request, committed in made]
    assert len(waits) == 160
    assert max(waits) < 0.9, sorted(waits)[-5:]  # the poll would take five seconds


async def test_a_row_that_did_not_ring_is_found_while_a_longer_insert_is_still_open(desk: Desk) -> None:
    async with serving("one:latest") as server, desk.working(server.url, slots_per_model=1):
        first, quick, slow = desk.person(), desk.person(), desk.person()
        server.open.clear()
        occupying = desk.ask(first)
        await is_running(server, 1)
        await desk.until("select 1 where not exists (" + HUNGRY + ")")
        with acting(desk.database, slow) as longer, longer.transaction():
            ask(longer, text=QUICK)
            with acting(desk.database, quick) as shorter, shorter.transaction():
                request = ask(shorter, text=QUICK)  # nobody is hungry: it does not ring
                server.open.set()
                await desk.until(ENDED, occupying)
                await desk.until(HUNGRY)
            await desk.until(ENDED, request, within=3)
        await desk.until(
            "select 1 where not exists (select from private.job where state <> 'done')", within=3
        )


async def test_an_owners_long_transaction_keeps_nobody_elses_job_waiting(desk: Desk) -> None:
    async with serving("one:latest") as server, desk.working(server.url, slots_per_model=1):
        slow, quick = desk.person(), desk.person()
        server.open.clear()
        occupying = desk.ask(quick)
        await is_running(server, 1)
        desk.ask(slow)
        with acting(desk.database, slow) as connection, connection.transaction():
            ask(connection, text=TEXT)  # holds the lock that a claim of the row before needs
            server.open.set()
            await desk.until(ENDED, occupying)
            await desk.until(ENDED, desk.ask(quick, QUICK), within=3)
        await desk.until(
            "select 1 where not exists (select from private.job where state <> 'done')", within=3
        )


async def test_the_result_is_what_the_model_said(desk: Desk) -> None:
    async with serving("one:latest") as server, desk.working(server.url):
        request = desk.ask(desk.person(), target_words=6)
        await desk.until(ENDED, request)
    assert desk.query(STORED, request)[0][0] == SENTENCE
