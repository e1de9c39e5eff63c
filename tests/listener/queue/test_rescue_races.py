"""Workers that claim and lease slots while a rescue fences and buries: no slot is leased twice, and no
running job is ever left without a worker's row, by which it is found.
"""

import asyncio

import pytest

from listener.queue import workers
from listener.queue.rescue import Rescued
from tests.fix_work import Desk
from tests.listener.queue.racing import blocked, gated, held_up, lease, rescue_with, scene, vanish

pytestmark = pytest.mark.services

ORPHANS = """
select j.id from private.job j
 where j.state = 'running' and not exists (select from private.worker w where w.id = j.worker_id)
"""


async def test_a_slot_that_was_leased_since_the_snapshot_is_not_leased_again(desk: Desk) -> None:
    model = await desk.model(slots=3)
    early, late = await desk.worker(), await desk.worker()
    async with held_up(desk, late):
        leasing = asyncio.create_task(lease(desk, late, model))
        await blocked(desk, late.connection)
        slots = await lease(desk, early, model)
    assert (len(slots), await leasing) == (3, [])
    assert desk.query("select distinct worker_id from private.slot") == [(early.claimant.worker_id,)]


async def test_a_dead_workers_slot_that_was_leased_since_the_snapshot_is_not_leased_again(desk: Desk) -> None:
    model = await desk.model(slots=1)
    dead, early, late = await desk.worker(model), await desk.worker(), await desk.worker()
    desk.query("delete from private.worker where id = %s returning id", dead.claimant.worker_id)
    async with held_up(desk, late):
        leasing = asyncio.create_task(lease(desk, late, model))
        await blocked(desk, late.connection)
        assert len(await lease(desk, early, model)) == 1
    assert await leasing == []
    assert desk.query("select worker_id from private.slot") == [(early.claimant.worker_id,)]


async def test_a_worker_that_is_fenced_as_it_leases_slots_gets_none(desk: Desk) -> None:
    model = await desk.model(slots=2)
    worker, sweeper = await desk.worker(), await desk.worker()
    vanish(desk, worker)
    async with sweeper.connection.transaction():
        assert (await rescue_with(sweeper)).fenced == (worker.claimant.worker_id,)
        leasing = asyncio.create_task(lease(desk, worker, model))
        await blocked(desk, worker.connection)
    assert await leasing == []


async def test_a_worker_whose_lease_of_slots_is_in_flight_is_not_fenced(desk: Desk) -> None:
    model = await desk.model(slots=2)
    worker, sweeper = await desk.worker(), await desk.worker()
    vanish(desk, worker)
    async with worker.connection.transaction():
        assert len(await lease(desk, worker, model)) == 2
        assert await rescue_with(sweeper) == Rescued(0, 0)
    assert (await rescue_with(sweeper)).fenced == (worker.claimant.worker_id,)
    assert len(await lease(desk, sweeper, model)) == 2


# Claim and rescue: no running job is ever left without a worker's row, by which it is found


async def test_a_worker_whose_claim_is_in_flight_is_rescued_when_it_is_committed(desk: Desk) -> None:
    at, _ = await scene(desk, running=False)
    vanish(desk, at.worker)
    async with at.worker.connection.transaction():
        await at.worker.claim_one(at.model)
        assert await rescue_with(at.sweeper) == Rescued(0, 0)
    assert await rescue_with(at.sweeper) == Rescued(1, 0, fenced=(at.worker.claimant.worker_id,))


async def test_a_claim_committed_since_the_rescues_snapshot_is_found_by_the_next(desk: Desk) -> None:
    at, _ = await scene(desk, running=False)
    vanish(desk, at.worker)
    async with gated(desk, at.sweeper):
        rescuing = asyncio.create_task(rescue_with(at.sweeper))
        await blocked(desk, at.sweeper.connection)
        await at.worker.claim_one(at.model)
    dead = (at.worker.claimant.worker_id,)
    assert await rescuing == Rescued(0, 0, fenced=dead)
    assert (desk.job(at.request)["state"], desk.query(ORPHANS)) == ("running", [])
    assert await rescue_with(at.sweeper) == Rescued(1, 0)
    assert await rescue_with(at.sweeper) == Rescued(0, 0, forgotten=dead)


async def test_who_has_not_seen_the_fence_does_not_bury(desk: Desk) -> None:
    """Its snapshot may be older than a claim that the rescue which fenced did not see either."""
    at, _ = await scene(desk, running=False)
    other = await desk.worker()
    async with gated(desk, other):
        async with gated(desk, at.sweeper), at.worker.connection.transaction():
            await at.worker.claim_one(at.model)
            desk.expire(at.worker)
            first = asyncio.create_task(rescue_with(at.sweeper))
            await blocked(desk, at.sweeper.connection)
            second = asyncio.create_task(rescue_with(other))
            await blocked(desk, other.connection)
        assert (await first).fenced == (at.worker.claimant.worker_id,)
    assert await second == Rescued(0, 0)
    assert desk.query(ORPHANS) == []
    assert await rescue_with(at.sweeper) == Rescued(1, 0)


async def test_a_claim_that_meets_a_rescue_takes_nothing(desk: Desk) -> None:
    at, _ = await scene(desk, running=False)
    async with held_up(desk, at.worker):
        claiming = asyncio.create_task(at.worker.claim(at.model))
        await blocked(desk, at.worker.connection)
    assert len(await claiming) == 1
    desk.ask(at.person)
    vanish(desk, at.worker)
    async with at.sweeper.connection.transaction():
        await rescue_with(at.sweeper)
        claiming = asyncio.create_task(at.worker.claim(at.model))
        await blocked(desk, at.worker.connection)
    assert await claiming == []
    assert {row[0] for row in desk.query("select state from private.job")} == {"ready"}


async def test_of_renewal_and_rescue_the_first_decides(desk: Desk) -> None:
    at, job = await scene(desk)
    assert job is not None
    desk.expire(at.worker)
    async with at.worker.connection.transaction():
        assert (await at.worker.renew(job)).alive
        assert await rescue_with(at.sweeper) == Rescued(0, 0)
    assert await rescue_with(at.sweeper) == Rescued(0, 0)
    desk.expire(at.worker)
    async with at.sweeper.connection.transaction():
        assert (await rescue_with(at.sweeper)).requeued == 1
        renewing = asyncio.create_task(at.worker.renew(job))
        await blocked(desk, at.worker.connection)
    assert not (await renewing).alive


async def test_a_worker_that_has_renewed_since_the_rescues_snapshot_is_left_alone(desk: Desk) -> None:
    at, job = await scene(desk)
    assert job is not None
    desk.expire(at.worker)
    async with gated(desk, at.sweeper):
        rescuing = asyncio.create_task(rescue_with(at.sweeper))
        await blocked(desk, at.sweeper.connection)
        assert (await at.worker.renew(job)).alive
    assert await rescuing == Rescued(0, 0)
    assert await at.worker.finish(job)


async def test_a_worker_that_leaves_while_a_claim_of_it_is_in_flight_is_not_forgotten(desk: Desk) -> None:
    at, _ = await scene(desk, running=False)
    leaver = await desk.connect()
    async with at.worker.connection.transaction():
        await at.worker.claim_one(at.model)
        leaving = asyncio.create_task(workers.unregister(leaver, at.worker.claimant))
        await blocked(desk, leaver)
    await leaving
    assert desk.query(ORPHANS) == []
    desk.expire(at.worker)
    assert (await rescue_with(at.sweeper)).requeued == 1
