"""A kept connection: guarded plans, opened again when lost, never reused after a cut statement."""

import asyncio

import asyncpg
import pytest

from chassis.database import passing, refused
from listener.queue.connection import KeptConnection
from tests.fix_work import Desk


def line(desk: Desk, **settings: str) -> KeptConnection:
    return KeptConnection(desk.database.url("listener"), name="test-line", command_seconds=5.0, **settings)


async def pid(opened: KeptConnection) -> int:
    return int(await opened.run(lambda connection: connection.fetchval("select pg_backend_pid()")))


@pytest.mark.services
async def test_its_settings_keep_plans_on_indexes_and_reach_the_server(desk: Desk) -> None:
    shown = "select setting from pg_settings where name = any($1) order by name"
    async with line(desk, lock_timeout="50ms") as opened:
        names = ["enable_seqscan", "jit", "lock_timeout", "plan_cache_mode"]
        rows = await opened.run(lambda connection: connection.fetch(shown, names))
    assert [row[0] for row in rows] == ["off", "off", "50", "force_generic_plan"]


@pytest.mark.services
async def test_a_lost_connection_fails_one_statement_and_the_next_gets_a_fresh_one(desk: Desk) -> None:
    async with line(desk) as opened:
        first = await pid(opened)
        with pytest.raises(asyncpg.PostgresError) as lost:
            await opened.run(
                lambda connection: connection.execute("select pg_terminate_backend(pg_backend_pid())")
            )
        assert passing(lost.value)
        assert await pid(opened) != first


@pytest.mark.services
async def test_a_statement_that_fails_keeps_the_connection(desk: Desk) -> None:
    async with line(desk) as opened:
        first = await pid(opened)
        with pytest.raises(asyncpg.DivisionByZeroError) as failed:
            await opened.run(lambda connection: connection.execute("select 1/0"))
        assert refused(failed.value)
        assert await pid(opened) == first


@pytest.mark.services
async def test_a_statement_that_was_cut_off_does_not_leave_its_connection_to_the_next(desk: Desk) -> None:
    async with line(desk) as opened:
        first = await pid(opened)
        waiting = asyncio.create_task(
            opened.run(lambda connection: connection.execute("select pg_sleep(60)"))
        )
        await desk.until("select from pg_stat_activity where pid = %s and wait_event = 'PgSleep'", first)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await pid(opened) != first


async def test_a_lost_connection_does_not_hide_that_the_task_is_being_cancelled() -> None:
    async def stubborn() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            try:
                raise ConnectionError("the rollback failed")
            except ConnectionError as error:
                passing(error)

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
