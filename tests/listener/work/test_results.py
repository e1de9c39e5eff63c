"""Results that come together are written together, and one that cannot be written keeps no other from it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from listener.queue.connection import KeptConnection
from listener.queue.jobs import Claimed
from listener.work.results import ResultWriter
from tests.fix_work import Desk

pytestmark = pytest.mark.services

NAME = "test-results"
WAITS = (
    "select from pg_stat_activity where application_name = %s and datname = %s and wait_event_type = 'Lock'"
)
CUT = """
select pg_terminate_backend(pid) from pg_stat_activity
 where application_name = %s and datname = %s and wait_event_type = 'Lock'
"""
# Rows of one transaction were written by one statement.
STATEMENTS = "select count(*) from private.result group by xmin::text order by 1"
HOLD = "select from private.job where request_id = %s for update"


@asynccontextmanager
async def finishing(desk: Desk, *, lock_timeout: str = "20s") -> AsyncIterator[ResultWriter]:
    url = desk.database.url("listener")
    async with KeptConnection(url, name=NAME, command_seconds=20.0, lock_timeout=lock_timeout) as line:
        yield ResultWriter(line)


async def claimed(desk: Desk, count: int) -> list[Claimed]:
    """So many jobs of as many people, claimed."""
    model = await desk.model()
    worker = await desk.worker(model)
    for _ in range(count):
        desk.ask(desk.person())
    return await worker.claim(model)


async def finish(finisher: ResultWriter, job: Claimed, body: str = "Short.") -> bool | None:
    return await finisher.finish(job.claim, body=body, checks={}, engine={})


def begin(finisher: ResultWriter, job: Claimed, body: str = "Short.") -> "asyncio.Task[bool | None]":
    return asyncio.create_task(finish(finisher, job, body))


@asynccontextmanager
async def held_up(
    desk: Desk, finisher: ResultWriter, job: Claimed
) -> AsyncIterator["asyncio.Task[bool | None]"]:
    """The job's result is on its way until the end of the block."""
    with desk.database.connect() as holder, holder.transaction():
        holder.execute(HOLD, [job.request_id])
        task = begin(finisher, job)
        await desk.until(WAITS, NAME, desk.database.name)
        yield task
        await asyncio.sleep(0)  # what was begun in the block has come that far


async def test_what_comes_while_a_statement_is_on_its_way_goes_in_one(desk: Desk) -> None:
    first, *others = await claimed(desk, 5)
    async with finishing(desk) as finisher:
        async with held_up(desk, finisher, first) as leading:
            tasks = [begin(finisher, job) for job in others]
        assert await asyncio.gather(leading, *tasks) == [True] * 5
    assert desk.query(STATEMENTS) == [(1,), (4,)]


async def test_each_hears_of_its_own_job(desk: Desk) -> None:
    first, lost, kept = await claimed(desk, 3)
    desk.query("update private.job set epoch = epoch + 1 where id = %s returning id", lost.job_id)
    async with finishing(desk) as finisher:
        tasks = [begin(finisher, job) for job in (first, lost, kept)]
        assert await asyncio.gather(*tasks) == [True, False, True]
    assert desk.query("select count(*) from private.result") == [(2,)]


async def test_a_row_that_the_database_refuses_sends_those_with_it_on_alone(desk: Desk) -> None:
    first, bad, good = await claimed(desk, 3)
    async with finishing(desk) as finisher:
        async with held_up(desk, finisher, first) as leading:
            tasks = [begin(finisher, bad, "No\0thing."), begin(finisher, good)]
        assert await asyncio.gather(leading, *tasks) == [True, None, None]
        assert await finish(finisher, good)
    assert desk.query("select count(*) from private.result") == [(2,)]


async def test_anothers_lock_is_not_waited_for_long(desk: Desk) -> None:
    held, free = await claimed(desk, 2)
    async with finishing(desk, lock_timeout="30ms") as finisher:
        with desk.database.connect() as holder, holder.transaction():
            holder.execute(HOLD, [held.request_id])
            assert await finish(finisher, held) is None
            assert await finish(finisher, free)


async def test_a_cut_connection_sends_them_on_alone_and_is_replaced(desk: Desk) -> None:
    first, second = await claimed(desk, 2)
    async with finishing(desk) as finisher:
        with desk.database.connect() as holder, holder.transaction():
            holder.execute(HOLD, [first.request_id])
            cut = begin(finisher, first)
            await desk.until(CUT, NAME, desk.database.name)
        assert await cut is None
        assert await finish(finisher, second)


async def test_who_is_cancelled_while_writing_for_others_leaves_it_to_the_next(desk: Desk) -> None:
    first, second, third = await claimed(desk, 3)
    async with finishing(desk) as finisher:
        with desk.database.connect() as holder, holder.transaction():
            holder.execute(HOLD, [second.request_id])
            async with held_up(desk, finisher, first):
                leader, follower = begin(finisher, second), begin(finisher, third)
            await desk.until(
                "select from private.result"
            )  # the first is written, and the next are on their way
            await desk.until(WAITS, NAME, desk.database.name)
            leader.cancel()
            await asyncio.gather(leader, return_exceptions=True)
        assert await follower
    assert desk.query("select count(*) from private.result") == [(3,)]
