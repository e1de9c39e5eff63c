"""What the listener's own statements leave in the log of attempts and in the count of what waits, and that
they heed an operator's switches."""

from collections.abc import Awaitable, Callable

import pytest

from listener.queue import jobs, rescue
from listener.queue.jobs import Claimed
from listener.queue.silence import Suspect
from listener.queue.slots import lease_slots
from tests.fix_work import Desk, Hand
from tests.sql.acting import counted, listening

pytestmark = pytest.mark.services

MESSAGE = "It broke."


async def finish(worker: Hand, job: Claimed) -> None:
    assert await worker.finish(job)


async def fail(worker: Hand, job: Claimed) -> None:
    assert await jobs.fail(worker.connection, job.claim, code="input_too_long", message=MESSAGE)


async def back_off(worker: Hand, job: Claimed) -> None:
    assert await jobs.back_off(
        worker.connection,
        job.claim,
        seconds=60,
        counted=True,
        code="model_failed",
        message=MESSAGE,
    )


async def release(worker: Hand, job: Claimed) -> None:
    assert await jobs.release(worker.connection, [job.claim]) == 1


async def overdue(worker: Hand, job: Claimed, *, attempts: int = 5) -> None:
    rescued = await rescue.requeue_overdue(worker.connection, [job.claim], max_attempts=attempts)
    assert rescued.requeued + rescued.failed == 1


async def overdue_at_last(worker: Hand, job: Claimed) -> None:
    await overdue(worker, job, attempts=1)


async def lost(worker: Hand, job: Claimed, *, attempts: int = 5) -> None:
    """The worker has counted no further than it did when it registered."""
    silent = Suspect(worker.claimant.worker_id, worker.claimant.incarnation, 0, lapsed=True)
    rescued = await rescue.rescue(worker.connection, [silent], max_attempts=attempts)
    assert rescued.requeued + rescued.failed == 1


async def lost_at_last(worker: Hand, job: Claimed) -> None:
    await lost(worker, job, attempts=1)


Way = Callable[[Hand, Claimed], Awaitable[None]]
WAYS: list[tuple[Way, str, str | None, int]] = [
    (finish, "done", None, 0),
    (fail, "failed", "input_too_long", 0),
    (back_off, "retried", "model_failed", 1),
    (release, "released", None, 1),
    (overdue, "retried", "deadline_exceeded", 1),
    (overdue_at_last, "failed", "deadline_exceeded", 0),
    (lost, "rescued", "worker_lost", 1),
    (lost_at_last, "failed", "worker_lost", 0),
]


@pytest.mark.parametrize(("way", "outcome", "code", "waiting"), WAYS, ids=[way[0].__name__ for way in WAYS])
async def test_each_way_out_is_one_row_and_what_waits_is_counted(
    desk: Desk, way: Way, outcome: str, code: str | None, waiting: int
) -> None:
    model = await desk.model()
    worker, person = await desk.worker(model), desk.person()
    request = desk.ask(person)
    assert counted(desk.database, person)[0] == 1
    job = await worker.claim_one(model)
    assert counted(desk.database, person)[0] == 0
    await way(worker, job)
    assert counted(desk.database, person)[0] == waiting
    assert desk.query(
        "select request_id, epoch, worker_id, worker, outcome, error_code, ended_at >= claimed_at"
        " from private.attempt"
    ) == [(request, 1, worker.claimant.worker_id, "test", outcome, code, True)]


@pytest.mark.parametrize("way", ["cancel", "delete"])
async def test_who_ends_their_running_request_ends_the_attempt(desk: Desk, way: str) -> None:
    model = await desk.model()
    worker, person = await desk.worker(model), desk.person()
    request = desk.ask(person)
    await worker.claim_one(model)
    if way == "cancel":
        desk.call(person, "cancel", request)
    else:
        desk.query("delete from private.request returning id")
    logged = [("cancelled", None)] if way == "cancel" else []
    assert desk.query("select outcome, error_code from private.attempt") == logged
    assert counted(desk.database, person)[0] == 0


async def test_a_finish_that_is_sent_twice_is_one_attempt(desk: Desk) -> None:
    model = await desk.model()
    worker = await desk.worker(model)
    desk.ask(desk.person())
    job = await worker.claim_one(model)
    for _ in range(2):
        assert await worker.finish(job)
    assert desk.query("select count(*) from private.attempt") == [(1,)]


async def test_a_claim_tells_for_how_long_the_job_has_been_tried_and_forgets_the_last_error(
    desk: Desk,
) -> None:
    model = await desk.model()
    worker, person = await desk.worker(model), desk.person()
    request = desk.ask(person)
    job = await worker.claim_one(model)
    assert job.tried_seconds == 0
    await release(worker, job)
    desk.query(
        "update private.job set started_at = started_at - interval '1 min', error_code = 'x' returning id"
    )
    job = await worker.claim_one(model)
    assert 60 <= job.tried_seconds < 70
    assert desk.job(request)["error_code"] is None
    await fail(worker, job)
    desk.call(person, "retry", request)
    assert (await worker.claim_one(model)).tried_seconds == 0


@pytest.mark.parametrize("what", ["the model", "everything"])
async def test_nothing_is_claimed_of_what_is_paused_and_no_slot_is_shown(desk: Desk, what: str) -> None:
    model, other = await desk.model("one:1", slots=3), await desk.model("two:1", slots=3)
    worker = await desk.worker(model, other)
    desk.ask(desk.person(), model="one:1")
    paused = "one:1" if what == "the model" else None
    desk.query("select private.pause(%s)", paused)
    assert await worker.claim(model) == []
    slots = {share.model_id: share.slots for share in (await worker.renew(models=[model, other])).shares}
    assert slots == {model: 0, other: 3 if paused else 0}
    desk.query("select private.resume(%s)", paused)
    slots = {share.model_id: share.slots for share in (await worker.renew(models=[model, other])).shares}
    assert slots == {model: 3, other: 3}
    assert len(await worker.claim(model)) == 1


async def test_what_runs_when_the_queue_is_paused_ends(desk: Desk) -> None:
    model = await desk.model()
    worker = await desk.worker(model)
    request = desk.ask(desk.person())
    job = await worker.claim_one(model)
    desk.query("select private.pause()")
    assert (await worker.renew(job, models=[model])).lost == frozenset()
    assert await worker.finish(job)
    assert desk.job(request)["state"] == "done"


async def test_a_drained_worker_claims_and_leases_nothing_until_it_may_again(desk: Desk) -> None:
    model = await desk.model(slots=4)
    worker = await desk.worker(model, slots=2)
    desk.ask(desk.person())
    hosts = [row[0] for row in desk.query("select id from private.host")]
    with listening(desk.database, "precis_control") as told:
        desk.query("select private.drain(%s)", worker.claimant.worker_id)
        assert told() == ["models"]
    assert (await worker.renew(models=[model])).draining
    assert await worker.claim(model) == []
    assert not await lease_slots(worker.connection, worker.claimant, model_id=model, hosts=hosts, most=1)
    desk.query("select private.drain(%s, false)", worker.claimant.worker_id)
    assert not (await worker.renew(models=[model])).draining
    assert len(await worker.claim(model)) == 1


async def test_an_operators_cancel_takes_the_job_from_its_worker(desk: Desk) -> None:
    model = await desk.model()
    worker = await desk.worker(model)
    request = desk.ask(desk.person())
    job = await worker.claim_one(model)
    with listening(desk.database, "precis_control") as told:
        desk.query("select private.cancel(%s)", request)
        assert told() == [str(request)]
    assert (await worker.renew(job)).lost == {(job.job_id, job.epoch)}
    assert not await worker.finish(job)
