"""What ended long ago is deleted with all that hangs on it, and nothing else."""

import asyncio
from uuid import UUID

import pytest
from prometheus_client import REGISTRY

from listener.queue import expiry
from listener.queue.expiry import BATCH, RETENTION_LOCK, expire
from listener.work import retention
from tests.fix_work import Desk
from tests.listener.model.small_server import serving
from tests.sql.acting import acting

pytestmark = pytest.mark.services

QUICK = "Short."  # is its own summary: no model call
END = """
update private.job set state = %s, finished_at = now() - make_interval(days => %s), worker_id = null,
       error_code = case when %s = 'failed' then 'x' end
 where request_id = any (%s) returning id
"""
WAITS = """
select from pg_stat_activity
 where application_name = 'test' and datname = current_database() and wait_event_type = 'Lock'
"""
ROWS = """
select (select count(*) from private.job), (select count(*) from private.result),
       (select count(*) from private.attempt)
"""
LEFT = "select id from private.request order by created_at"


def ended(desk: Desk, *requests: UUID, days_ago: int, state: str = "done") -> None:
    desk.query(END, state, days_ago, state, list(requests))


async def test_only_what_ended_longer_ago_is_deleted(desk: Desk) -> None:
    await desk.model()
    *old, young, waiting = desk.ask_many(desk.person(), 5)
    for request, state in zip(old, ("done", "failed", "cancelled"), strict=True):
        ended(desk, request, days_ago=8, state=state)
    ended(desk, young, days_ago=6)
    assert await expire(await desk.connect(), keep_days=7) == 3
    assert desk.query(LEFT) == [(young,), (waiting,)]


async def test_everything_that_hangs_on_it_goes_and_its_owner_is_told(desk: Desk) -> None:
    model = await desk.model()
    worker = await desk.worker(model)
    person = desk.person()
    request = desk.ask(person)
    await worker.finish(await worker.claim_one(model))
    ended(desk, request, days_ago=8)
    assert desk.query("select count(*) from private.attempt") == [(1,)]
    assert await expire(worker.connection, keep_days=7) == 1
    assert desk.query(ROWS) == [(0, 0, 0)]
    assert desk.query("select ref, gone from private.event where owner = %s order by n desc", person)[0] == (
        request,
        True,
    )
    assert desk.query("select waiting from private.event_cursor where owner = %s", person) == [(0,)]


async def test_a_batch_is_bounded_and_takes_the_oldest(desk: Desk) -> None:
    await desk.model()
    person = desk.person()
    first = desk.ask_many(person, 2)
    ended(desk, *first, days_ago=9)
    ended(desk, *desk.ask_many(person, BATCH), days_ago=8)
    connection = await desk.connect()
    assert await expire(connection, keep_days=7) == BATCH
    assert desk.query("select id from private.request where id = any (%s)", first) == []
    assert [await expire(connection, keep_days=7) for _ in range(2)] == [2, 0]


async def test_one_that_is_tried_again_at_the_same_moment_stays(desk: Desk) -> None:
    await desk.model()
    person = desk.person()
    request, other = desk.ask_many(person, 2)
    ended(desk, request, other, days_ago=8, state="failed")
    connection = await desk.connect()
    with acting(desk.database, person) as client, client.transaction():
        client.execute("select public.retry(%s)", [request])
        expiring = asyncio.create_task(expire(connection, keep_days=7))
        await desk.until(WAITS)  # for the owner's event cursor
    assert await expiring == 1
    assert desk.query(LEFT) == [(request,)]


async def test_a_job_that_is_held_is_passed_by(desk: Desk) -> None:
    await desk.model()
    held, other = desk.ask_many(desk.person(), 2)
    ended(desk, held, other, days_ago=8)
    connection = await desk.connect()
    with desk.database.connect() as holder, holder.transaction():
        holder.execute("select from private.job where request_id = %s for update", [held])
        assert await expire(connection, keep_days=7) == 1
    assert desk.query(LEFT) == [(held,)]


async def test_while_one_worker_deletes_another_does_not(desk: Desk) -> None:
    await desk.model()
    ended(desk, desk.ask(desk.person()), days_ago=8)
    connection = await desk.connect()
    with desk.database.connect() as other, other.transaction():
        other.execute("select pg_advisory_xact_lock(%s)", [RETENTION_LOCK])
        assert await expire(connection, keep_days=7) == 0
    assert await expire(connection, keep_days=7) == 1


async def test_only_what_is_old_enough_is_read(desk: Desk) -> None:
    plan = "\n".join(
        row[0]
        for row in await (await desk.connect()).fetch("explain " + expiry.EXPIRE, RETENTION_LOCK, BATCH, 7)
    )
    assert "Index Scan using job_finished_at_idx" in plan
    assert "Index Cond: (finished_at <" in plan


async def test_a_worker_deletes_by_its_setting_batch_after_batch(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "BATCH", 2)
    monkeypatch.setattr(retention, "BREATH_SECONDS", 0.01)
    await desk.model()
    ended(desk, *desk.ask_many(desk.person(), 5), days_ago=8)
    before = REGISTRY.get_sample_value("precis_expired_requests_total") or 0.0
    async with serving("one:latest") as server, desk.working(server.url, keep_days=7):
        await desk.until("select 1 where not exists (select from private.request)")
        async with asyncio.timeout(5):  # it counts them once it has been told that they are gone
            while REGISTRY.get_sample_value("precis_expired_requests_total") != before + 5:
                await asyncio.sleep(0.01)


async def test_without_the_setting_nothing_is_deleted(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(retention.Retention, "__init__", lambda *_arguments, **_named: asked.append(1))
    await desk.model("one:latest")
    ended(desk, desk.ask(desk.person()), days_ago=9999)
    async with serving("one:latest") as server, desk.working(server.url):
        await desk.until(
            "select from private.job where request_id = %s and state = 'done'", desk.ask(desk.person(), QUICK)
        )
    assert asked == []
    assert len(desk.query(LEFT)) == 2
