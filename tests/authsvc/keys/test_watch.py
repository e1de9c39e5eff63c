"""A process's keys stay fresh: it looks when told, and again where a look failed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from structlog.testing import capture_logs

from authsvc.keys.ring import KeyRing
from authsvc.keys.watch import KeyWatch
from chassis.database import pool
from tests.fix_postgres import Database

pytestmark = pytest.mark.services

SECRET = bytes(range(32))
ROTATED = "notify pgrst, 'reload config'"
CUT = "select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = 'authsvc keys'"


@dataclass
class Process:
    """One that keeps its keys fresh."""

    database: Database
    ring: KeyRing = field(default_factory=lambda: KeyRing(secret=SECRET, token_seconds=600))
    looks: asyncio.Queue[str] = field(default_factory=asyncio.Queue)

    def looked(self) -> None:
        self.looks.put_nowait(self.ring.current.active.kid)

    async def next_kid(self, *known: str) -> str:
        """The key that signs after a look, once it is another than these."""
        async with asyncio.timeout(20):
            while (kid := await self.looks.get()) in known:
                pass
        return kid

    def change(self, *statements: str) -> None:
        with self.database.connect() as admin, admin.transaction():
            for statement in statements:
                admin.execute(statement.encode())


@asynccontextmanager
async def watching(database: Database) -> AsyncIterator[Process]:
    process, url = Process(database), database.url("authsvc")
    async with pool(url, name="test", size=2) as connections:
        watch = KeyWatch(process.ring, url, connections, looked=process.looked)
        tasks = [asyncio.create_task(side) for side in (watch.listen(), watch.look())]
        try:
            yield process
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=5)


async def test_it_looks_when_told_that_keys_have_changed(database: Database) -> None:
    async with watching(database) as process:
        first = await process.next_kid()
        process.change("delete from private.signing_key", ROTATED)
        assert await process.next_kid(first) != first


async def test_what_changed_while_nobody_could_tell_it_is_seen_when_it_listens_again(
    database: Database,
) -> None:
    async with watching(database) as process:
        first = await process.next_kid()
        process.change(CUT, "delete from private.signing_key", ROTATED)
        assert await process.next_kid(first) != first


async def test_a_look_that_fails_is_tried_again(database: Database) -> None:
    async with watching(database) as process:
        first = await process.next_kid()
        with capture_logs() as logs:
            process.change("alter table private.signing_key rename to elsewhere", ROTATED)
            async with asyncio.timeout(20):
                while not any(line["event"] == "keys.not_looked_at" for line in logs):
                    await asyncio.sleep(0)
        process.change("delete from private.elsewhere", "alter table private.elsewhere rename to signing_key")
        assert await process.next_kid(first) != first
