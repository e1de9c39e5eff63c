"""Who is hungry is rung by whoever makes a job ready, from when `ringing` says so; nobody else is."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from listener.work.doorbell import Doorbell
from tests.fix_work import Desk
from tests.sql.acting import acting, ask, listening

pytestmark = pytest.mark.services

# Of this database: clones of one template share the table's number, and others here have workers too.
SIGN = """
select from pg_locks l join pg_database d on d.oid = l.database and d.datname = current_database()
 where l.relation = 'private.bell'::regclass and l.mode = 'ShareLock'"""
WAITS = SIGN + " and not l.granted"
HELD = SIGN + " and l.granted"


@asynccontextmanager
async def doorbell(desk: Desk) -> AsyncIterator[tuple[Doorbell, asyncio.Event]]:
    await desk.model()
    changed = asyncio.Event()
    bell = Doorbell(desk.database.url("listener"), name="test-bell", changed=changed.set)
    running = asyncio.create_task(bell.run())
    try:
        yield bell, changed
    finally:
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(running, 5)


async def test_the_hungry_are_rung_and_the_full_are_not(desk: Desk) -> None:
    person = desk.person()
    async with doorbell(desk) as (bell, changed):
        with listening(desk.database, "precis_bell") as heard:
            bell.want()
            await asyncio.wait_for(changed.wait(), 10)
            assert bell.ringing
            desk.ask(person)
            assert heard() == [""]
            bell.rest()
            assert not bell.ringing
            await desk.until("select 1 where not exists (" + HELD + ")")
            desk.ask(person)
            assert heard() == []


async def test_it_waits_for_who_is_making_a_job_ready_and_is_rung_by_the_next_meanwhile(desk: Desk) -> None:
    slow, quick = desk.person(), desk.person()
    async with doorbell(desk) as (bell, changed):
        with acting(desk.database, slow) as connection, connection.transaction():
            ask(connection)
            bell.want()
            await desk.until(WAITS)
            assert not bell.ringing
            with listening(desk.database, "precis_bell") as heard:
                desk.ask(quick)
                assert heard() == [""]
        await asyncio.wait_for(changed.wait(), 10)
        assert bell.ringing


async def test_who_is_full_before_the_lock_came_lets_go_of_it(desk: Desk) -> None:
    async with doorbell(desk) as (bell, changed):
        with acting(desk.database, desk.person()) as connection, connection.transaction():
            ask(connection)
            bell.want()
            await desk.until(WAITS)
            bell.rest()
        await desk.until(f"select 1 where not exists ({HELD}) and not exists ({WAITS})")
        assert not changed.is_set()


async def test_a_cut_connection_is_told_and_the_lock_taken_again(desk: Desk) -> None:
    async with doorbell(desk) as (bell, changed):
        bell.want()
        await asyncio.wait_for(changed.wait(), 10)
        changed.clear()
        await desk.until(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'test-bell'"
        )
        await asyncio.wait_for(changed.wait(), 10)
        await desk.until(HELD)


async def test_it_can_be_stopped_while_its_connection_is_gone(desk: Desk) -> None:
    async with doorbell(desk) as (bell, changed):
        bell.want()
        await asyncio.wait_for(changed.wait(), 10)
        await desk.until(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'test-bell'"
        )


async def test_hunger_holds_no_snapshot_back(desk: Desk) -> None:
    async with doorbell(desk) as (bell, changed):
        bell.want()
        await asyncio.wait_for(changed.wait(), 10)
        held = "select backend_xmin, backend_xid from pg_stat_activity where application_name = 'test-bell'"
        assert desk.query(held) == [(None, None)]
