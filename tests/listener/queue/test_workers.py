"""Workers, slots, hosts and models: who holds what, and that the limit of parallel calls holds at every
instant."""

import asyncio

import pytest

from listener.queue import models, workers
from listener.queue.models import Served
from listener.queue.slots import give_back_slots, lease_slots
from listener.queue.workers import Other
from tests.fix_work import Desk, Hand
from tests.sql.acting import listening

pytestmark = pytest.mark.services


def leased(desk: Desk) -> list[tuple[int, int]]:
    """(worker, slots) in the order of workers."""
    return [
        (row[0], row[1])
        for row in desk.query(
            "select worker_id, count(*) from private.slot where worker_id is not null group by 1 order by 1"
        )
    ]


def hosts(desk: Desk) -> list[int]:
    return [row[0] for row in desk.query("select id from private.host order by id")]


async def lease(desk: Desk, worker: Hand, model: int, most: int) -> int:
    found = await lease_slots(
        worker.connection, worker.claimant, model_id=model, hosts=hosts(desk), most=most
    )
    return len(found)


async def test_a_renewal_extends_the_lease_by_the_databases_clock(desk: Desk) -> None:
    worker = await desk.worker()
    desk.query("update private.worker set lease_until = now() + interval '1 s' returning id")
    assert (await worker.renew()).alive
    assert desk.query("select lease_until - now() > interval '13 s' from private.worker") == [(True,)]


async def test_a_worker_that_was_buried_learns_it_at_its_renewal(desk: Desk) -> None:
    worker = await desk.worker()
    desk.query("delete from private.worker returning id")
    assert not (await worker.renew()).alive


async def test_a_renewal_tells_of_claims_that_are_lost_and_of_jobs_nobody_here_knows(desk: Desk) -> None:
    model = await desk.model()
    worker = await desk.worker(model)
    person = desk.person()
    kept, lost, stray = desk.ask_many(person, 3)
    jobs = {job.request_id: job for job in await worker.claim(model)}
    desk.call(person, "cancel", lost)
    renewal = await worker.renew(jobs[kept], jobs[lost])
    assert renewal.lost == {(jobs[lost].job_id, 1)}
    assert renewal.unknown_claims == {(jobs[stray].job_id, 1)}


async def test_a_renewal_tells_how_far_the_others_have_counted_and_of_the_next_job_that_is_due(
    desk: Desk,
) -> None:
    worker, other = await desk.worker(), await desk.worker()
    first = await worker.renew()
    assert (first.others, first.due_seconds) == ((Other(other.claimant.worker_id, 1, 0, fenced=False),), None)
    await desk.model()
    desk.ask(desk.person(), run_at=desk.query("select now() + interval '30 s'")[0][0])
    await other.renew()
    second = await worker.renew()
    assert second.others == (Other(other.claimant.worker_id, 1, 1, fenced=False),)
    assert second.server == first.server
    assert 25 < (second.due_seconds or 0) <= 30
    desk.expire(other)
    await worker.rescue()
    assert (await worker.renew()).others == (Other(other.claimant.worker_id, 2, 1, fenced=True),)


async def test_an_operators_order_to_drain_reaches_the_worker_and_stays(desk: Desk) -> None:
    model = await desk.model()
    worker = await desk.worker(model)
    desk.ask(desk.person())
    desk.query("update private.worker set draining = true returning id")
    assert (await worker.renew(leaving=False)).draining
    assert (await worker.renew(leaving=False)).draining
    assert await worker.claim(model) == []


async def test_slots_are_shared_among_the_workers_that_serve_a_model(desk: Desk) -> None:
    model = await desk.model(slots=3)
    first, second, other = await desk.worker(model), await desk.worker(), await desk.worker()
    await first.renew(models=[model])
    await other.renew(models=[])
    await second.renew(models=[model])
    (share,) = (await first.renew(models=[model])).shares
    assert (share.slots, share.unleased, share.workers, share.fair) == (3, 0, 2, 2)


async def test_slots_of_hosts_that_a_worker_does_not_reach_are_not_there_for_it_to_lease(desk: Desk) -> None:
    model = await desk.model(slots=3)
    worker = await desk.worker()
    (host,) = (row[0] for row in desk.query("select id from private.host"))
    (near,) = (await worker.renew(models=[model], hosts=[host])).shares
    (far,) = (await worker.renew(models=[model], hosts=[])).shares
    assert (near.unleased, far.unleased) == (3, 0)


async def test_forty_workers_at_once_never_hold_more_slots_than_there_are(desk: Desk) -> None:
    model = await desk.model(slots=7)
    forty = [await desk.worker() for _ in range(40)]
    took = await asyncio.gather(*(lease(desk, worker, model, 2) for worker in forty))
    assert sum(took) <= 7
    await asyncio.gather(*(lease(desk, worker, model, 7) for worker in forty))
    assert sum(count for _, count in leased(desk)) == 7


async def test_the_slots_of_a_buried_worker_are_free(desk: Desk) -> None:
    model = await desk.model(slots=2)
    gone, heir = await desk.worker(model), await desk.worker()
    assert await lease(desk, heir, model, 2) == 0
    desk.query("delete from private.worker where id = %s returning id", gone.claimant.worker_id)
    assert await lease(desk, heir, model, 2) == 2


async def test_a_worker_without_a_lease_gets_no_slot(desk: Desk) -> None:
    model = await desk.model(slots=2)
    worker = await desk.worker()
    desk.expire(worker)
    await (await desk.worker()).rescue()
    assert await lease(desk, worker, model, 2) == 0


async def test_slots_that_are_given_back_are_free_and_others_are_told_to_look(desk: Desk) -> None:
    model = await desk.model(slots=2)
    worker, other = await desk.worker(), await desk.worker()
    slots = await lease_slots(worker.connection, worker.claimant, model_id=model, hosts=hosts(desk), most=2)
    with listening(desk.database, "precis_control") as heard:
        await give_back_slots(worker.connection, worker.claimant, slots[:1])
        assert heard() == ["models"]
    assert await lease(desk, other, model, 2) == 1


async def test_nobody_gives_back_anothers_slot(desk: Desk) -> None:
    model = await desk.model(slots=1)
    worker, other = await desk.worker(), await desk.worker()
    slots = await lease_slots(worker.connection, worker.claimant, model_id=model, hosts=hosts(desk), most=1)
    await give_back_slots(other.connection, other.claimant, slots)
    assert leased(desk) == [(worker.claimant.worker_id, 1)]


async def test_a_worker_that_leaves_is_forgotten_but_not_while_a_job_of_it_runs(desk: Desk) -> None:
    model = await desk.model()
    busy, idle = await desk.worker(model, slots=1), await desk.worker()
    desk.ask(desk.person())
    await busy.claim_one(model)
    for worker in (busy, idle):
        await workers.unregister(worker.connection, worker.claimant)
    assert desk.query("select id from private.worker") == [(busy.claimant.worker_id,)]
    assert leased(desk) == []


async def record(desk: Desk, *offered: Served, slots: int = 2) -> None:
    connection = await desk.connect()
    host = await models.put_host(connection, url="http://one", version="1")
    await models.put_host_models(connection, host, offered, slots_per_model=slots)


async def served(desk: Desk, name: str, family: str = "llama") -> Served:
    model_id = await models.add_model(await desk.connect(), name)
    return Served(model_id, name, "sha", family, 4096, ("completion", "tools"))


async def test_what_a_host_no_longer_lists_goes_with_its_free_slots(desk: Desk) -> None:
    first, second = await served(desk, "first:1"), await served(desk, "second:1")
    await record(desk, first, second)
    await record(desk, second)
    assert desk.query("select name, available, capabilities from public.models order by name") == [
        ("first:1", False, []),
        ("second:1", True, ["completion", "tools"]),
    ]
    assert desk.query("select distinct model_id from private.slot") == [(second.model_id,)]


@pytest.mark.parametrize("slots", [1, 3])
async def test_another_number_of_slots_takes_effect(desk: Desk, slots: int) -> None:
    model = await served(desk, "first:1")
    await record(desk, model)
    await record(desk, model, slots=slots)
    assert desk.query("select count(*) from private.slot") == [(slots,)]


async def default(desk: Desk, configured: str = "") -> str | None:
    await models.choose_default(await desk.connect(), configured)
    found = desk.query("select name from private.model where is_default")
    return found[0][0] if found else None


async def test_the_default_is_a_language_model_as_soon_as_there_is_one_and_then_stays(desk: Desk) -> None:
    extractive = await served(desk, "extractive:latest", "extractive")
    await record(desk, extractive)
    assert await default(desk) == "extractive:latest"
    older, newer = await served(desk, "older:1"), await served(desk, "newer:1")
    await record(desk, extractive, newer)
    assert await default(desk) == "newer:1"
    await record(desk, extractive, older, newer)
    assert await default(desk) == "newer:1"


@pytest.mark.parametrize("configured", ["second:latest", "second"])
async def test_the_configured_default_wins_and_nothing_stands_in_for_it(desk: Desk, configured: str) -> None:
    first, second = await served(desk, "first:1"), await served(desk, "second:latest")
    await record(desk, first)
    assert await default(desk, configured) is None
    await record(desk, first, second)
    assert await default(desk, configured) == "second:latest"


async def test_a_host_that_another_worker_still_sees_keeps_its_models(desk: Desk) -> None:
    await record(desk, await served(desk, "first:1"))
    worker, other = await desk.worker(), await desk.worker()
    (host,) = hosts(desk)
    await models.miss_host(worker.connection, host, worker.claimant)
    assert desk.query("select available from public.models") == [(True,)]
    desk.expire(other)
    await worker.rescue()
    await models.miss_host(worker.connection, host, worker.claimant)
    assert desk.query("select available from public.models") == [(False,)]
    await models.see_host(worker.connection, host)
    assert desk.query("select available from public.models") == [(True,)]
