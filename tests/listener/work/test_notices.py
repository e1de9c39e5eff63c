"""The LISTEN connection: hears, proves that it hears, shows that its process lives, and comes back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import uuid4

import pytest

from listener.queue.rescue import ALIVE_LOCK
from listener.work.notices import Control, Notices, parse_control
from tests.fix_work import Desk

pytestmark = pytest.mark.services

LOCKED = "select from pg_locks where locktype = 'advisory' and classid = %s::int8 and objid = %s::int8"
WAITED_FOR = f"{LOCKED} and not granted"
CUT = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'test-notices'"


@dataclass
class NoticeHandler:
    """Remembers what it was told."""

    heard: asyncio.Queue[object] = field(default_factory=asyncio.Queue)

    def on_bell(self) -> None:
        self.heard.put_nowait("on_bell")

    def on_control(self, about: Control) -> None:
        self.heard.put_nowait(about)

    def reconnected(self) -> None:
        self.heard.put_nowait("reconnected")

    async def next(self) -> object:
        return await asyncio.wait_for(self.heard.get(), 15)


@dataclass
class Worker:
    id: int = 7


@asynccontextmanager
async def notices(desk: Desk) -> AsyncIterator[tuple[Notices, NoticeHandler, Worker]]:
    handler, worker = NoticeHandler(), Worker()
    url = desk.database.url("listener")
    async with desk.statements() as pool:
        listening = Notices(url, pool, name="test-notices", handler=handler, worker=lambda: worker.id)
        running = asyncio.create_task(listening.run())
        try:
            assert await handler.next() == "reconnected"
            yield listening, handler, worker
        finally:
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(running, 5)


async def test_rings_and_words_reach_the_ear_and_nonsense_does_not(desk: Desk) -> None:
    request = uuid4()
    async with notices(desk) as (_, handler, _worker):
        desk.query("select pg_notify('precis_bell', '')")
        desk.query("select pg_notify('precis_control', 'models')")
        desk.query("select pg_notify('precis_control', 'nonsense')")
        desk.query("select pg_notify('precis_control', %s)", str(request))
        desk.query("select pg_notify('precis_bell', '')")
        assert [await handler.next() for _ in range(4)] == ["on_bell", "models", request, "on_bell"]


@pytest.mark.parametrize("payload", ["", "model", "Models", "echo:1", "1" * 31, "models,models"])
def test_a_control_message_that_is_neither_a_request_nor_models_says_nothing(payload: str) -> None:
    assert parse_control(payload) is None


async def test_its_session_shows_that_the_worker_lives_whatever_its_number(desk: Desk) -> None:
    async with notices(desk) as (listening, _handler, worker):
        await desk.until(LOCKED, ALIVE_LOCK, 7)
        worker.id = 8
        listening.show_life()
        await desk.until(LOCKED, ALIVE_LOCK, 8)


async def test_after_a_cut_it_listens_again_shows_life_and_lets_everything_be_looked_at(desk: Desk) -> None:
    async with notices(desk) as (_, handler, _worker):
        await desk.until(LOCKED, ALIVE_LOCK, 7)
        await desk.until(CUT)
        assert await handler.next() == "reconnected"
        desk.query("select pg_notify('precis_bell', '')")
        assert await handler.next() == "on_bell"
        await desk.until(LOCKED, ALIVE_LOCK, 7)


async def shown(listening: Notices) -> None:
    async with asyncio.timeout(15):
        while not listening.shows_life:
            await asyncio.sleep(0.005)


async def test_it_knows_that_its_life_is_not_shown_while_somebody_else_has_the_lock(desk: Desk) -> None:
    async with notices(desk) as (listening, handler, _worker):
        await shown(listening)
        somebody = await desk.connect()
        waiting = asyncio.ensure_future(somebody.execute(f"select pg_advisory_lock({ALIVE_LOCK}, 7)"))
        await desk.until(WAITED_FOR, ALIVE_LOCK, 7)
        await desk.until(CUT)
        await waiting
        assert await handler.next() == "reconnected"
        assert not listening.shows_life
        await somebody.close()
        await shown(listening)
