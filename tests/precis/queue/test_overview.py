"""precis.queue.overview: the whole queue in one look, on a real database."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from precis.queue.connection import Connection, connected
from precis.queue.overview import read_overview

from listener.queue import jobs
from tests.fix_work import Desk

pytestmark = pytest.mark.services


@pytest.fixture
async def owner(desk: Desk) -> AsyncIterator[Connection]:
    async with connected(desk.database.url("precis_owner")) as connection:
        yield connection


async def test_each_model_is_told_with_its_queue_and_slots(desk: Desk, owner: Connection) -> None:
    model = await desk.model("a", slots=3)
    await desk.model("b", slots=1)
    person = desk.person()
    desk.ask_many(person, 3)
    desk.ask(person, run_at=datetime.now(UTC) + timedelta(hours=1))
    await (await desk.worker(model, slots=2)).claim_one(model)
    await desk.worker()
    await owner.execute("select private.pause('b')")
    one, other = (await read_overview(owner, limit=10)).models
    assert (one.name, one.queued, one.scheduled, one.running, one.leased, one.slots) == ("a", 2, 1, 1, 2, 3)
    assert one.next_seconds is not None
    assert (other.paused, other.queued, other.next_seconds, other.leased, other.slots) == (
        True,
        0,
        None,
        0,
        1,
    )


async def test_what_runs_is_told_with_its_progress_the_longest_first(desk: Desk, owner: Connection) -> None:
    model = await desk.model()
    desk.ask_many(desk.person(), 2)
    worker = await desk.worker(model)
    first, second = await worker.claim_one(model), await worker.claim_one(model)
    step = jobs.Progress(first.claim, 0.25)
    await jobs.write_partials(worker.connection, [], [step])
    running = (await read_overview(owner, limit=10)).running
    assert [(job.id, job.progress) for job in running] == [(first.request_id, 0.25), (second.request_id, 0.0)]
    overview = await read_overview(owner, limit=1)
    assert (len(overview.running), overview.pauses.running) == (1, 2)


async def test_workers_are_told_with_their_lease_slots_and_models(desk: Desk, owner: Connection) -> None:
    model = await desk.model("a", slots=3)
    worker, fenced = await desk.worker(model, slots=2), await desk.worker()
    await worker.renew(models=[model])
    desk.ask(desk.person())
    await worker.claim_one(model)
    await owner.execute(
        "update private.worker set lease_until = '-infinity', draining = true where id = %s",
        [fenced.claimant.worker_id],
    )
    one, other = (await read_overview(owner, limit=10)).workers
    assert (one.name, one.version, one.models, one.slots, one.running) == ("test", "0", ["a"], 2, 1)
    assert 0 < (one.lease_seconds or 0) <= 15
    assert (other.draining, other.lease_seconds) == (True, None)


async def test_failures_are_news_for_an_hour(desk: Desk, owner: Connection) -> None:
    model = await desk.model()
    desk.ask_many(desk.person(), 2)
    worker = await desk.worker(model)
    for code in ("old", "new"):
        job = await worker.claim_one(model)
        await jobs.fail(worker.connection, job.claim, code=code, message="No.")
    desk.query("update private.job set finished_at = now() - interval '2 h' where error_code = 'old'")
    assert [failure.error_code for failure in (await read_overview(owner, limit=10)).failures] == ["new"]


async def test_a_database_of_no_model_and_no_worker_has_an_overview_too(owner: Connection) -> None:
    overview = await read_overview(owner, limit=10)
    assert (overview.models, overview.running, overview.workers, overview.failures) == ([], [], [], [])
