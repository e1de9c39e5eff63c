"""The statements on jobs, from real connections: one claim per job, in fair order, and nothing written
without it."""

import asyncio
import itertools
from collections import Counter
from typing import LiteralString

import asyncpg
import pytest

from listener.queue import jobs
from listener.queue.jobs import Claimed, Finished, PartialText, Progress
from tests.fix_work import Desk, Hand, watch
from tests.sql.acting import acting, listening

pytestmark = pytest.mark.services


async def test_a_claim_brings_the_request_and_counts_the_attempt(desk: Desk) -> None:
    model = await desk.model()
    worker = await desk.worker(model)
    request = desk.ask(
        desk.person(), "Some text.", task="shorten", target_ratio=0.5, language="de", style="bullets"
    )
    claimed = await worker.claim_one(model)
    assert (claimed.request_id, claimed.text, claimed.task, claimed.target_ratio) == (
        request,
        "Some text.",
        "shorten",
        0.5,
    )
    assert (claimed.epoch, claimed.attempts, claimed.language, claimed.style) == (1, 1, "de", "bullets")
    job = desk.job(request)
    assert (job["state"], job["worker_id"]) == ("running", worker.claimant.worker_id)
    assert job["deadline_at"] > job["claimed_at"]


async def test_a_claim_takes_no_more_than_the_free_slots_asked_for_nor_than_are_leased(desk: Desk) -> None:
    model = await desk.model(slots=5)
    worker, _ = await desk.worker(model, slots=3), await desk.worker(model, slots=2)
    desk.ask_many(desk.person(), 10)
    assert len(await worker.claim(model, free=2)) == 2
    assert len(await worker.claim(model, free=50)) == 3


async def test_a_worker_whose_lease_has_ended_claims_nothing(desk: Desk) -> None:
    model = await desk.model()
    worker = await desk.worker(model)
    desk.ask(desk.person())
    desk.expire(worker)
    assert (await (await desk.worker()).rescue()).fenced == (worker.claimant.worker_id,)
    assert await worker.claim(model) == []


async def test_a_paused_model_is_not_claimed(desk: Desk) -> None:
    model = await desk.model()
    worker = await desk.worker(model)
    desk.ask(desk.person())
    desk.query("update private.model set paused_at = now() returning id")
    assert await worker.claim(model) == []


async def test_a_persons_single_row_is_claimed_within_a_round_of_anothers_backlog(desk: Desk) -> None:
    model = await desk.model()
    worker = await desk.worker(model)
    desk.ask_many(desk.person(), 50)
    for _ in range(5):
        await worker.finish(await worker.claim_one(model))
    single = desk.ask(desk.person())
    ahead = [(await worker.claim_one(model)).request_id for _ in range(3)]
    assert single in ahead


async def test_priority_orders_a_persons_own_rows(desk: Desk) -> None:
    model = await desk.model()
    worker = await desk.worker(model)
    person = desk.person()
    low, normal, high = (desk.ask(person, priority=priority) for priority in (-1, 0, 1))
    assert [(await worker.claim_one(model)).request_id for _ in range(3)] == [high, normal, low]


async def test_a_scheduled_job_is_not_claimed_before_its_time(desk: Desk) -> None:
    model = await desk.model()
    worker = await desk.worker(model)
    desk.ask(desk.person(), run_at=_in_an_hour(desk))
    assert await worker.claim(model) == []


async def test_each_job_is_claimed_once_by_fifty_claimers_at_once(desk: Desk) -> None:
    model = await desk.model()
    for person in (desk.person(), desk.person()):
        desk.ask_many(person, 150)
    workers = [await desk.worker(model, slots=20) for _ in range(50)]
    sizes = itertools.cycle((1, 3, 10, 20))

    async def drain(worker: Hand, size: int) -> list[tuple[int, int]]:
        mine = []
        while claimed := await worker.claim(model, free=size):
            mine += [(job.job_id, job.epoch) for job in claimed]
            for job in claimed:
                assert await worker.finish(job)
        return mine

    claimed = await asyncio.gather(*(drain(worker, next(sizes)) for worker in workers))
    times = Counter(itertools.chain.from_iterable(claimed))
    assert len(times) == 300
    assert set(times.values()) == {1}
    assert {epoch for _, epoch in times} == {1}
    assert desk.query("select count(*) from private.result where epoch = 1") == [(300,)]


async def test_a_claim_passes_by_the_owner_who_holds_a_transaction_open(desk: Desk) -> None:
    model = await desk.model()
    worker = await desk.worker(model)
    slow, other = desk.person(), desk.person()
    blocked, free = desk.ask(slow), desk.ask(other)
    await worker.connection.execute("set lock_timeout = '50ms'")
    with desk.database.connect() as holder, holder.transaction():
        holder.execute("select from private.event_cursor where owner = %s for update", [slow])
        with pytest.raises(asyncpg.LockNotAvailableError):
            await worker.claim(model)
        assert [job.request_id for job in await worker.claim(model, around=True)] == [free]
    assert [job.request_id for job in await worker.claim(model)] == [blocked]


async def test_a_finish_stores_the_result_ends_the_job_and_drops_the_text_so_far(desk: Desk) -> None:
    model = await desk.model()
    worker = await desk.worker(model)
    request = desk.ask(desk.person())
    job = await worker.claim_one(model)
    await jobs.write_partials(worker.connection, [PartialText(job.claim, 0, "So")], [])
    finished = Finished(job.claim, "So be it.", '{"a": 1}', '{"b": 2}')
    assert await jobs.finish(worker.connection, [finished]) == {job.job_id}
    assert desk.query("select request_id, epoch, body, checks, engine from private.result") == [
        (request, 1, "So be it.", {"a": 1}, {"b": 2})
    ]
    assert desk.query("select from private.partial") == []
    row = desk.job(request)
    assert (row["state"], row["progress"], row["worker_id"]) == ("done", 1, None)


async def test_a_finish_whose_answer_was_lost_is_accepted_again_and_changes_nothing(desk: Desk) -> None:
    model = await desk.model()
    worker = await desk.worker(model)
    desk.ask(desk.person())
    job = await worker.claim_one(model)
    assert await worker.finish(job, "First.")
    assert await worker.finish(job, "Second.")
    assert desk.query("select body from private.result") == [("First.",)]


async def test_nothing_that_an_outlived_claim_writes_changes_anything(desk: Desk) -> None:
    model = await desk.model()
    zombie, heir = await desk.worker(model, slots=1), await desk.worker(model, slots=1)
    request = desk.ask(desk.person())
    old = await zombie.claim_one(model)
    await jobs.release(heir.connection, [old.claim])
    new = await heir.claim_one(model)
    before = desk.job(request)
    await write_in_vain(zombie, old)
    assert desk.job(request) == before
    assert desk.query("select from private.partial") == []
    assert await heir.finish(new)
    assert not await zombie.finish(old)


async def write_in_vain(worker: Hand, job: Claimed) -> None:
    """Everything a worker can write, for a claim that is not its own any more."""
    connection, claim = worker.connection, job.claim
    assert not await worker.finish(job)
    assert not await jobs.fail(connection, claim, code="x", message="y")
    assert not await jobs.back_off(connection, claim, seconds=1, counted=True, code="x", message="y")
    assert await jobs.release(connection, [claim]) == 0
    await jobs.write_partials(connection, [PartialText(claim, 0, "old")], [Progress(claim, 0.9)])


# What is left of a claim that was committed and not yet on disk when the database crashed: nothing.
FORGET: LiteralString = """
    update private.job set state = 'ready', epoch = epoch - 1, attempts = attempts - 1, worker_id = null
     where request_id = %s returning id"""


async def test_a_claim_that_a_crash_forgot_writes_nothing_though_the_next_one_has_its_epoch(
    desk: Desk,
) -> None:
    model = await desk.model()
    first, heir = await desk.worker(model, slots=1), await desk.worker(model, slots=1)
    request = desk.ask(desk.person())
    old = await first.claim_one(model)
    desk.query(FORGET, request)
    desk.query("delete from private.attempt returning 1")
    new = await heir.claim_one(model)
    assert (new.job_id, new.epoch) == (old.job_id, old.epoch)
    before = desk.job(request)
    await write_in_vain(first, old)
    assert (await first.renew(old)).lost == {(old.job_id, old.epoch)}
    assert desk.job(request) == before
    assert await heir.finish(new, "The heir's.")
    assert not await first.finish(old)
    assert desk.query("select body from private.result") == [("The heir's.",)]


async def test_a_claim_does_not_wait_for_the_disk_and_a_finish_does(desk: Desk) -> None:
    model = await desk.model()
    worker = await desk.worker(model)
    desk.ask(desk.person())
    setting = "show synchronous_commit"
    async with worker.connection.transaction():
        job = await worker.claim_one(model)
        assert await worker.connection.fetchval(setting) == "off"
    async with worker.connection.transaction():
        assert await worker.finish(job)
        assert await worker.connection.fetchval(setting) == "on"


async def test_a_failure_stands_with_its_code_and_sentence(desk: Desk) -> None:
    model = await desk.model()
    worker = await desk.worker(model)
    request = desk.ask(desk.person())
    job = await worker.claim_one(model)
    assert await jobs.fail(worker.connection, job.claim, code="input_too_long", message="Split it.")
    row = desk.job(request)
    assert (row["state"], row["error_code"], row["error_message"]) == (
        "failed",
        "input_too_long",
        "Split it.",
    )
    assert row["finished_at"]


@pytest.mark.parametrize(("counted", "attempts"), [(True, 1), (False, 0)])
async def test_a_job_that_backs_off_waits_and_keeps_or_forgets_the_attempt(
    desk: Desk, counted: bool, attempts: int
) -> None:
    model = await desk.model()
    worker = await desk.worker(model)
    request = desk.ask(desk.person())
    job = await worker.claim_one(model)
    assert await jobs.back_off(
        worker.connection, job.claim, seconds=60, counted=counted, code="model_busy", message="."
    )
    row = desk.job(request)
    assert (row["state"], row["attempts"], row["worker_id"]) == ("ready", attempts, None)
    assert desk.query(
        "select run_at - now() between interval '50 s' and interval '60 s' from private.job"
    ) == [(True,)]
    assert await worker.claim(model) == []


async def test_a_released_job_is_at_the_front_uncounted_and_the_hungry_are_rung(desk: Desk) -> None:
    model = await desk.model()
    worker = await desk.worker(model)
    person = desk.person()
    first, *_ = desk.ask_many(person, 5)
    job = await worker.claim_one(model)
    with listening(desk.database, "precis_bell") as heard, desk.database.connect("listener") as hungry:
        with hungry.transaction():
            hungry.execute("lock table private.bell in share mode")
            assert await jobs.release(worker.connection, [job.claim]) == 1
        assert heard() == [""]
    assert desk.job(first)["attempts"] == 0
    again = await worker.claim_one(model)
    assert (again.request_id, again.epoch, again.attempts) == (first, 2, 1)


async def test_text_so_far_is_told_only_of_owners_who_watch(desk: Desk) -> None:
    model = await desk.model()
    worker = await desk.worker(model)
    watched, unwatched = desk.person(), desk.person()
    watch(desk, watched)
    request = desk.ask(watched)
    desk.ask(unwatched)
    ours = {job.request_id: job for job in await worker.claim(model)}
    with listening(desk.database, "precis_partial") as heard:
        pieces = [PartialText(job.claim, n, f"piece {n}. ") for job in ours.values() for n in range(3)]
        await jobs.write_partials(worker.connection, pieces, [])
        assert heard() == [f"{watched}:{request}:1:2"]
    assert desk.query("select count(*) from private.partial") == [(6,)]


async def test_a_piece_that_is_written_twice_is_there_once(desk: Desk) -> None:
    model = await desk.model()
    worker = await desk.worker(model)
    desk.ask(desk.person())
    job = await worker.claim_one(model)
    for _ in range(2):
        await jobs.write_partials(worker.connection, [PartialText(job.claim, 0, "once")], [])
    assert desk.query("select text from private.partial") == [("once",)]


async def test_many_pieces_of_watched_owners_fit_into_their_notices(desk: Desk) -> None:
    model = await desk.model()
    worker = await desk.worker(model)
    for person in [desk.person() for _ in range(105)]:
        watch(desk, person)
        desk.ask(person)
    ours = await worker.claim(model)
    with listening(desk.database, "precis_partial") as heard:
        await jobs.write_partials(worker.connection, [PartialText(job.claim, 0, "x") for job in ours], [])
        payloads = heard()
    assert sum(len(payload.split(",")) for payload in payloads) == 105
    assert max(map(len, payloads)) < 8000


async def test_progress_moves_without_an_event(desk: Desk) -> None:
    model = await desk.model()
    worker = await desk.worker(model)
    request = desk.ask(desk.person())
    job = await worker.claim_one(model)
    events = desk.query("select count(*) from private.event")
    await jobs.write_partials(worker.connection, [], [Progress(job.claim, 0.5)])
    assert desk.job(request)["progress"] == 0.5
    assert desk.query("select count(*) from private.event") == events


@pytest.mark.parametrize("first", ["cancel", "finish"])
async def test_of_cancel_and_finish_the_first_to_commit_decides(desk: Desk, first: str) -> None:
    model = await desk.model()
    worker = await desk.worker(model)
    person = desk.person()
    request = desk.ask(person)
    job = await worker.claim_one(model)
    with acting(desk.database, person) as connection:
        if first == "cancel":
            with connection.transaction():
                connection.execute("select from public.cancel(%s)", [request])
                finishing = asyncio.ensure_future(worker.finish(job))
                await desk.until(
                    "select 1 where cardinality(pg_blocking_pids(%s)) > 0", worker.connection.get_server_pid()
                )
            assert not await finishing
        else:
            finishing_transaction = worker.connection.transaction()
            await finishing_transaction.start()
            assert await worker.finish(job)
            cancelling = asyncio.create_task(asyncio.to_thread(_cancel, connection, request))
            await desk.until(
                "select 1 where cardinality(pg_blocking_pids(%s)) > 0", connection.info.backend_pid
            )
            await finishing_transaction.commit()
            assert "already_finished" in await cancelling
    state = desk.job(request)["state"]
    results = desk.query("select count(*) from private.result")
    assert (state, results) == (("cancelled", [(0,)]) if first == "cancel" else ("done", [(1,)]))


async def test_a_cancelled_jobs_model_call_is_reported_through_the_control_channel(desk: Desk) -> None:
    model = await desk.model()
    worker = await desk.worker(model)
    person = desk.person()
    request = desk.ask(person)
    job = await worker.claim_one(model)
    with listening(desk.database, "precis_control") as heard:
        desk.call(person, "cancel", request)
        assert heard() == [str(request)]
    assert (await worker.renew(job)).lost == {(job.job_id, job.epoch)}


async def test_the_claims_plan_stays_an_index_scan_when_it_was_made_on_an_empty_table(desk: Desk) -> None:
    model = await desk.model()
    worker = await desk.worker(model)
    await worker.connection.execute("analyze private.job")
    assert await worker.claim(model) == []
    desk.query(
        "insert into private.request (owner, task, text, model, body_hash)"
        " select %s, 'summarize', 'x', 'm', '' from generate_series(1, 3000) returning id", desk.person(),
    )  # fmt: skip
    desk.query(
        "insert into private.job (id, request_id, owner, model_id, tag)"
        " select job_id, id, owner, %s, row_number() over () from private.request returning id", model,
    )  # fmt: skip
    before = desk.query("select seq_scan from pg_stat_user_tables where relname = 'job'")
    for _ in range(3):
        assert len(await worker.claim(model, free=2)) == 2
    assert desk.query("select seq_scan from pg_stat_user_tables where relname = 'job'") == before


def _cancel(connection: object, request: object) -> str:
    try:
        connection.execute("select from public.cancel(%s)", [request])  # type: ignore[attr-defined]
    except Exception as error:
        return str(error)
    return ""


def _in_an_hour(desk: Desk) -> object:
    return desk.query("select now() + interval '1 hour'")[0][0]
