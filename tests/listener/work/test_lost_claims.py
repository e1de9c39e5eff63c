"""A claim does not wait for the disk: a crash of Postgres may forget it. It is never drawn a second time."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from listener.queue import jobs, workers
from listener.queue.jobs import Claim, Finished
from tests.fix_postgres import SERVER_OPTIONS, Cluster, Database, running_cluster
from tests.fix_work import Desk

pytestmark = pytest.mark.services

FORGETFUL = (*SERVER_OPTIONS, "-c", "wal_writer_delay=10s", "-c", "wal_writer_flush_after=0")


@pytest.fixture
def forgetful() -> Iterator[Cluster]:
    """A server that writes what need not be on the disk there as late as it may."""
    with running_cluster(options=FORGETFUL) as running:
        running.create_database("precis")
        running.dbmate("precis", "up")
        yield running


@asynccontextmanager
async def at_desk(cluster: Cluster) -> AsyncIterator[Desk]:
    async with AsyncExitStack() as stack:
        yield Desk(Database(cluster, "precis"), stack)


async def claimed_and_forgotten(forgetful: Cluster) -> tuple[int, Claim, workers.Claimant]:
    """A model, the claim of a job that a crash has taken back, and who had it."""
    async with at_desk(forgetful) as desk:
        model = await desk.model()
        worker = await desk.worker(model)
        desk.ask(desk.person())
        desk.query("checkpoint")
        job = await worker.claim_one(model)
        await asyncio.to_thread(forgetful.stop, "immediate")
    await asyncio.to_thread(forgetful.start)
    return model, job.claim, worker.claimant


async def test_a_claim_that_a_crash_has_taken_back_is_drawn_as_another(forgetful: Cluster) -> None:
    model, lost, claimant = await claimed_and_forgotten(forgetful)
    async with at_desk(forgetful) as desk:
        assert desk.query("select state, epoch from private.job") == [("ready", 0)]
        connection = await desk.connect()
        want = [jobs.Want(model, 1)]
        assert await jobs.claim(connection, claimant, want, deadline_seconds=60) == []
        await workers.begin_incarnation(connection)
        (again,) = await jobs.claim(connection, claimant, want, deadline_seconds=60)
        assert again.worker_id == lost.worker_id
        assert again.epoch > lost.epoch
        assert not await jobs.finish(connection, [Finished(lost, "Of before.", "{}", "{}")])
        assert await jobs.finish(connection, [Finished(again.claim, "Of now.", "{}", "{}")])
        assert desk.query("select body from private.result") == [("Of now.",)]


async def test_each_crash_begins_higher_than_all_before_it(forgetful: Cluster) -> None:
    floors = []
    for _ in range(3):
        async with at_desk(forgetful) as desk:
            await desk.worker()
            floors.append(desk.query("select epoch_floor from private.event_incarnation")[0][0])
        await asyncio.to_thread(forgetful.stop, "immediate")
        await asyncio.to_thread(forgetful.start)
    assert floors == sorted(set(floors))
    assert floors[0] == 0
