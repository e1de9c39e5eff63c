"""Rescue of dead workers' jobs, hung and due jobs, old partial text: as statements on a real database."""

import asyncio
import itertools
from typing import LiteralString

import pytest

from listener.queue import jobs, rescue
from listener.queue.jobs import Claimed, PartialText
from listener.queue.rescue import Rescued
from tests.fix_work import Desk, Hand
from tests.sql.acting import listening

pytestmark = pytest.mark.services


async def running(desk: Desk, *, count: int = 1) -> tuple[Hand, Hand, list[Claimed]]:
    """A worker with running jobs, and one that sweeps."""
    model = await desk.model()
    worker, sweeper = await desk.worker(model), await desk.worker()
    desk.ask_many(desk.person(), count)
    claimed = await worker.claim(model)
    return worker, sweeper, claimed


async def rescue_with(sweeper: Hand, *, max_attempts: int = 5) -> Rescued:
    return await sweeper.rescue(max_attempts=max_attempts)


async def show_life(desk: Desk, worker: Hand) -> None:
    """The session lock that a living worker holds on its LISTEN connection."""
    connection = await desk.connect()
    await connection.execute("select pg_advisory_lock($1, $2)", rescue.ALIVE_LOCK, worker.claimant.worker_id)


async def test_the_job_of_a_worker_whose_lease_ended_is_ready_again_and_the_worker_forgotten(
    desk: Desk,
) -> None:
    worker, sweeper, (job,) = await running(desk)
    await show_life(desk, worker)
    desk.expire(worker)
    assert await rescue_with(sweeper) == Rescued(1, 0, fenced=(worker.claimant.worker_id,))
    row = desk.job(job.request_id)
    assert (row["state"], row["worker_id"], row["attempts"], row["run_at"]) == ("ready", None, 1, None)
    assert not (await worker.renew(job)).alive
    assert not await worker.finish(job)
    assert await rescue_with(sweeper) == Rescued(0, 0, forgotten=(worker.claimant.worker_id,))
    assert desk.query("select id from private.worker") == [(sweeper.claimant.worker_id,)]


async def test_a_worker_that_renews_is_left_alone(desk: Desk) -> None:
    worker, sweeper, _ = await running(desk)
    desk.expire(worker)
    await worker.renew()
    assert await rescue_with(sweeper) == Rescued(0, 0)


@pytest.mark.parametrize(("shows_life", "count"), [(True, 0), (False, 1)])
async def test_after_five_silent_seconds_the_session_lock_tells_whether_the_process_lives(
    desk: Desk, shows_life: bool, count: int
) -> None:
    worker, sweeper, _ = await running(desk)
    if shows_life:
        await show_life(desk, worker)
    desk.expire(worker, lapsed=False)
    assert (await rescue_with(sweeper)).requeued == count


async def test_no_clock_of_the_server_makes_a_worker_look_dead_or_alive(desk: Desk) -> None:
    """As after a jump of an hour in either direction, and on a server that was started in the future."""
    worker, sweeper, (job,) = await running(desk)
    desk.query("update private.worker set lease_until = now() - interval '1 hour' returning id")
    desk.query("update private.job set deadline_at = now() - interval '1 hour' returning id")
    assert await rescue_with(sweeper) == Rescued(0, 0)
    desk.query("update private.worker set lease_until = now() + interval '2 hours' returning id")
    desk.expire(worker)
    assert (await rescue_with(sweeper)).requeued == 1
    assert desk.job(job.request_id)["attempts"] == 1


async def test_a_worker_that_was_leaving_and_ran_out_of_time_costs_no_attempt(desk: Desk) -> None:
    worker, sweeper, (job,) = await running(desk)
    assert (await worker.renew(job, leaving=True)).draining
    desk.expire(worker)
    assert (await rescue_with(sweeper, max_attempts=1)).requeued == 1
    row = desk.job(job.request_id)
    assert (row["state"], row["attempts"], row["run_at"]) == ("ready", 0, None)


async def test_a_job_that_used_up_its_attempts_fails_with_worker_lost(desk: Desk) -> None:
    worker, sweeper, (job,) = await running(desk)
    desk.expire(worker)
    assert await rescue_with(sweeper, max_attempts=1) == Rescued(0, 1, fenced=(worker.claimant.worker_id,))
    row = desk.job(job.request_id)
    assert (row["state"], row["error_code"]) == ("failed", "worker_lost")
    assert row["error_message"].endswith(".")


async def test_a_job_that_took_a_worker_down_before_waits_before_the_next(desk: Desk) -> None:
    worker, sweeper, (job,) = await running(desk)
    desk.query("update private.job set attempts = 2 returning id")
    desk.expire(worker)
    await rescue_with(sweeper)
    assert desk.job(job.request_id)["run_at"] is not None


async def test_a_worker_with_more_jobs_than_a_batch_is_forgotten_with_the_last(desk: Desk) -> None:
    worker, sweeper, claimed = await running(desk, count=rescue.BATCH + 1)
    desk.expire(worker)
    me = (worker.claimant.worker_id,)
    assert await rescue_with(sweeper) == Rescued(rescue.BATCH, 0, fenced=me)
    assert not await worker.claim(claimed[0].model_id)
    assert await rescue_with(sweeper) == Rescued(1, 0)
    assert await rescue_with(sweeper) == Rescued(0, 0, forgotten=me)


async def test_a_rescue_passes_by_a_job_whose_row_somebody_changes_and_comes_back_for_it(desk: Desk) -> None:
    worker, sweeper, (job,) = await running(desk)
    desk.expire(worker)
    with desk.database.connect() as holder, holder.transaction():
        holder.execute("select from private.job where id = %s for update", [job.job_id])
        assert await rescue_with(sweeper) == Rescued(0, 0, fenced=(worker.claimant.worker_id,))
        assert await rescue_with(sweeper) == Rescued(0, 0)
    assert await rescue_with(sweeper) == Rescued(1, 0)


async def test_a_rescue_passes_by_a_worker_whose_claim_is_in_flight(desk: Desk) -> None:
    worker, sweeper, _ = await running(desk)
    async with worker.connection.transaction():
        await worker.connection.execute(
            "select from private.worker where id = $1 for key share", worker.claimant.worker_id
        )
        desk.expire(worker)
        assert await rescue_with(sweeper) == Rescued(0, 0)


async def test_of_many_sweepers_one_rescues(desk: Desk) -> None:
    worker, sweeper, _ = await running(desk, count=5)
    sweepers = [sweeper, *[await desk.worker() for _ in range(7)]]
    desk.expire(worker)
    rescued = await asyncio.gather(*map(rescue_with, sweepers))
    assert sum(result.requeued for result in rescued) == 5
    assert {row[0] for row in desk.query("select attempts from private.job")} == {1}


async def test_a_rescue_rings_the_hungry_and_tells_of_free_slots(desk: Desk) -> None:
    worker, sweeper, _ = await running(desk)
    desk.expire(worker)
    with (
        listening(desk.database, "precis_bell") as rung,
        listening(desk.database, "precis_control") as told,
        desk.database.connect("listener") as hungry,
        hungry.transaction(),
    ):
        hungry.execute("lock table private.bell in share mode")
        await rescue_with(sweeper)
        assert (rung(), told()) == ([""], ["models"])


async def test_a_job_that_outstays_its_deadline_is_taken_from_a_living_worker_who_is_told(desk: Desk) -> None:
    worker, sweeper, (job,) = await running(desk)
    assert await rescue.requeue_overdue(sweeper.connection, [job.claim], max_attempts=5) == Rescued(1, 0)
    assert await rescue.requeue_overdue(sweeper.connection, [job.claim], max_attempts=5) == Rescued(0, 0)
    assert (await worker.renew(job)).lost == {(job.job_id, 1)}


async def test_a_job_that_hangs_each_time_fails_with_deadline_exceeded(desk: Desk) -> None:
    _, sweeper, (job,) = await running(desk)
    assert await rescue.requeue_overdue(sweeper.connection, [job.claim], max_attempts=1) == Rescued(0, 1)
    assert desk.job(job.request_id)["error_code"] == "deadline_exceeded"


async def due(desk: Desk, count: int) -> tuple[int, Hand]:
    model = await desk.model()
    worker = await desk.worker(model)
    desk.ask_many(desk.person(), count, run_at=desk.query("select now() + interval '1 hour'")[0][0])
    desk.query("update private.job set run_at = now() - interval '1 s' returning id")
    return model, worker


async def test_a_due_job_becomes_ready_and_rings(desk: Desk) -> None:
    model, worker = await due(desk, 1)
    with listening(desk.database, "precis_bell") as rung, desk.database.connect("listener") as hungry:
        with hungry.transaction():
            hungry.execute("lock table private.bell in share mode")
            assert await rescue.ready_due(worker.connection) == 1
        assert rung() == [""]
    assert len(await worker.claim(model)) == 1


async def test_a_job_is_not_made_ready_before_its_time(desk: Desk) -> None:
    _, worker = await due(desk, 1)
    desk.query("update private.job set run_at = now() + interval '1 min' returning id")
    assert await rescue.ready_due(worker.connection) == 0


async def test_rows_of_one_person_that_fall_due_together_stand_one_step_apart(desk: Desk) -> None:
    _, worker = await due(desk, 20)
    await rescue.ready_due(worker.connection)
    tags = [row[0] for row in desk.query("select tag from private.job order by tag")]
    assert {later - earlier for earlier, later in itertools.pairwise(tags)} == {1024}


# Its transaction was open while the clock went on by so much.
LEFT_BEHIND: LiteralString = """
    update private.job j set tag = j.tag - %s where j.request_id = %s
      and setval((select m.clock from private.model m where m.id = j.model_id), 100000) > 0 returning j.id"""
TAG: LiteralString = "select tag from private.job where request_id = %s"


async def test_jobs_that_were_left_behind_stand_behind_each_other_and_the_hungry_are_rung(desk: Desk) -> None:
    model = await desk.model()
    worker = await desk.worker(model)
    late, urgent, *others = desk.ask_many(desk.person(), 5)
    for other in others:
        desk.query("update private.job set tag = 100000 where request_id = %s returning id", other)
    desk.query(LEFT_BEHIND, 0, late)
    desk.query("update private.job set priority = 1, rank = 2 where request_id = %s returning id", urgent)
    events = desk.query("select count(*) from private.event")
    with listening(desk.database, "precis_bell") as heard, desk.database.connect("listener") as hungry:
        with hungry.transaction():
            hungry.execute("lock table private.bell in share mode")
            assert await rescue.lift(worker.connection) == 2
        assert heard() == [""]
    assert desk.query(TAG, urgent) == [(101_024,)]
    assert desk.query(TAG, late) == [(102_048,)]
    assert desk.query("select count(*) from private.event") == events
    assert await rescue.lift(worker.connection) == 0
    assert (await worker.claim_one(model)).request_id == urgent


async def test_a_job_within_reach_of_the_claims_stays_where_it_is(desk: Desk) -> None:
    model = await desk.model()
    worker = await desk.worker(model)
    request = desk.ask(desk.person())
    desk.query(LEFT_BEHIND, 0, request)
    tag = 100_000 - jobs.FLOOR_MARGIN
    desk.query("update private.job set tag = %s returning id", tag)
    assert await rescue.lift(worker.connection) == 0
    assert desk.query(TAG, request) == [(tag,)]


async def test_text_of_claims_that_have_ended_is_pruned_and_of_those_that_run_is_not(desk: Desk) -> None:
    model = await desk.model()
    worker = await desk.worker(model)
    ended, runs = desk.ask_many(desk.person(), 2)
    ours = {job.request_id: job for job in await worker.claim(model)}
    pieces = [PartialText(job.claim, 0, "so far") for job in ours.values()]
    await jobs.write_partials(worker.connection, pieces, [])
    await jobs.release(worker.connection, [ours[ended].claim])
    await rescue.prune_partials(worker.connection)
    assert desk.query("select request_id from private.partial") == [(runs,)]
