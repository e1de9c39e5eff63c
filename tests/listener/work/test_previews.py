"""Text so far: first piece at once, then a few statements a second for all jobs, no piece twice, none after
the end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from listener.queue.connection import KeptConnection
from listener.queue.jobs import Claim, Claimed, PartialText
from listener.work.previews import Preview, Previews
from tests.fix_work import Desk

pytestmark = pytest.mark.services

WRITTEN = """
select string_agg(text, '' order by n), count(*) from private.partial
having string_agg(text, '' order by n) = %s
"""
CUT = """
select pg_terminate_backend(pid) from pg_stat_activity
 where application_name = 'test' and wait_event_type = 'Lock'
"""


@asynccontextmanager
async def partials(desk: Desk) -> AsyncIterator[Previews]:
    async with KeptConnection(
        desk.database.url("listener"), name="test", command_seconds=3, lock_timeout="2s"
    ) as line:
        writing = Previews(line)
        running = asyncio.create_task(writing.run())
        try:
            yield writing
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def claimed(desk: Desk, count: int = 1) -> list[Claimed]:
    model = await desk.model()
    worker = await desk.worker(model)
    desk.ask_many(desk.person(), count)
    return await worker.claim(model)


async def test_what_comes_between_two_ticks_is_one_piece(desk: Desk) -> None:
    (job,) = await claimed(desk)
    async with partials(desk) as writing:
        emit = writing.open(job.claim)
        emit("First. ", 0.1)
        await desk.until(WRITTEN, "First. ")
        for word in ("Second ", "and ", "third."):
            emit(word, 0.5)
        _, pieces = await desk.until(WRITTEN, "First. Second and third.")
    assert pieces == 2
    assert desk.query("select progress > 0 from private.job") == [(True,)]


async def test_nothing_is_written_after_the_job_was_closed(desk: Desk) -> None:
    closed, open_ = await claimed(desk, 2)
    async with partials(desk) as writing:
        late = writing.open(closed.claim)
        await writing.close(closed.claim)
        late("Too late.", 0.5)
        writing.open(open_.claim)("In time.", 0.5)
        await desk.until(WRITTEN, "In time.")


async def test_pieces_wait_for_a_database_that_is_in_trouble_and_come_out_whole(desk: Desk) -> None:
    (job,) = await claimed(desk)
    async with partials(desk) as writing:
        emit = writing.open(job.claim)
        with desk.database.connect() as holder, holder.transaction():
            holder.execute("lock table private.partial in access exclusive mode")
            emit("One piece.", 0.1)
            await desk.until(CUT)
        await desk.until(WRITTEN, "One piece.")


def test_a_piece_that_was_perhaps_written_keeps_its_number() -> None:
    preview = Preview(Claim(1, 1, 1), texts=["a", "b"])
    assert preview.gather() == [PartialText(Claim(1, 1, 1), 0, "ab")]
    preview.texts.append("c")
    assert preview.gather() == [PartialText(Claim(1, 1, 1), 0, "ab"), PartialText(Claim(1, 1, 1), 1, "c")]


def test_progress_is_written_at_most_once_a_second() -> None:
    preview = Preview(Claim(1, 1, 1), share=0.5)
    assert preview.has_moved(100.0)
    preview.shared, preview.shared_at = 0.5, 100.0
    assert not preview.has_moved(102.0)
    preview.share = 0.6
    assert not preview.has_moved(100.5)
    assert preview.has_moved(101.0)
